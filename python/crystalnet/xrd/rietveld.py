"""How well does a candidate crystal explain the measured profile?

`refine` fits one candidate to every measured point (Rietveld, through rietx);
`intensity_misfit` compares line intensities alone, fast enough for hundreds of candidates in one cell.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from crystalnet.crystal.elements import atomic_numbers
from crystalnet.crystal.lattice import nearest_image
from crystalnet.crystal.symmetry import SYMPREC, bare_symmetry
from crystalnet.ops.reflections import reflections
from crystalnet.records import AtomSites, Fit, Pattern, Peaks, Radiation, short_reason
from crystalnet.xrd.residual import D_MIN, _two_theta

if TYPE_CHECKING:
    from rietx import Instrument, Phase
    from rietx.schemas.instrument import Dispersion


POINTS_PER_FWHM = 6  # five are enough to refine a line; more only cost time
BACKGROUND_TERMS = 6  # Chebyshev terms added to the background under the peaks: level and slope, no lines
BACKGROUND_POINTS = 400  # of the smooth curve handed to the library, which copies it at every stage
CELL_FREEDOM = 0.02  # relative; an indexed cell is better than this, farther off is another lattice
ZERO_FREEDOM = 0.3  # degrees; specimens sit up to ~0.2° off, and more correlates with the cell
MAX_SHIFT = 0.3  # Å; an atom that wants to go farther belongs to another structure
SHIFT_SIGMA, SHIFT_COST = 0.15, 0.01  # a coordinate this far (Å) from its start costs this part of χ²
B_START, B_MIN, B_MAX = 0.5, -0.5, 6.0  # Å²; absorption and texture ask for slightly negative values
STAND_IN = "Si"  # scatters for an unexplained site "X", with a free occupancy
NEUTRAL = (0.0, 0.0)  # f′, f″ of an atom that scatters as f₀ alone
# Paths freed stage by stage, each stage keeping what the one before freed (McCusker et al., 1999). A zero
# shift and no specimen displacement: in a laboratory's range they are one parameter. Measured on 32 patterns:
# freeing both, the zero within ±0.15°, lowers no Rwp by more than 0.002; unbounded they run to ±2.5°.
SCALE = ("phases.*.scale", "instrument.background.c*")
CELL = ("instrument.zero_shift", "phases.*.cell.[abc]")
WIDTHS = ("instrument.profile.[uvwxy]",)
DISPLACEMENT = ("phases.*.atoms.*.biso",)
COORDINATES = ("phases.*.atoms.*.dof.*",)
MAX_ITERATIONS, TOLERANCE = 20, 1e-4  # relative change of χ² that ends a stage: an Rwp to four digits
EQUAL_EDGES = 1e-4  # relative


def refine(
    pattern: Pattern,
    peaks: Peaks,
    sites: AtomSites,
    *,
    zero_shift: float = 0.0,
    free_coordinates: bool = True,
    max_seconds: float = 10.0,
) -> Fit:
    """Fit a candidate to the measured profile: scale and background, zero and cell, widths, B, coordinates.

    sites: a conventional cell; its space group is found (spglib) and kept, and so are angles and equal edges.
    zero_shift: degrees, the start. max_seconds: what is not refined by then stays as it was; CPU time of the
    calling thread, so that a busy machine gives the same answer as an idle one.
    Rwp = √(Σw(y_o−y_c)²/Σw(y_o−background)²), w = 1/σ², over all measured points.
    Never raises for a bad candidate: one that cannot be fitted comes back as given, with the background as
    its calculated profile, Rwp 1 and the reason in `Fit.failure`. What was done otherwise than asked for (an element
    that scatters without dispersion, coordinates that could not be refined) stands in `Fit.remarks`.
    Rietveld, J. Appl. Cryst. 2, 65 (1969); McCusker et al., ibid. 32, 36 (1999).
    """
    deadline = _Deadline(max_seconds)
    best = Fit(sites, 1.0, peaks.background, peaks.background, np.zeros(0), zero_shift)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's remarks on absurd candidates
            fit = _Rietveld(pattern, peaks, _Crystal(sites), zero_shift)
            fit.profile(deadline)
            if free_coordinates:
                fit.coordinates(deadline)
            return _better(best, fit.result())
    except Exception as error:  # an absurd candidate can break the library anywhere: the others go on
        return replace(best, failure=short_reason(error))


def weighted_profile_r(pattern: Pattern, calculated: np.ndarray, background: np.ndarray) -> float:
    """Rwp as a fraction, background excluded: √(Σw(y_o−y_c)²/Σw(y_o−background)²), w = 1/σ²."""
    misfit = (pattern.intensity - calculated) / pattern.sigma
    signal = (pattern.intensity - background) / pattern.sigma
    return float(np.sqrt((misfit @ misfit) / (signal @ signal)))


def _better(old: Fit, new: Fit) -> Fit:
    """The new one where it explains more than the background alone; a nan does not."""
    return new if new.rwp < old.rwp else replace(old, failure="no fit is better than the background alone")


class _Crystal:
    """A candidate with its symmetry: operations, one atom of each orbit, and the way back to all atoms."""

    def __init__(self, sites: AtomSites) -> None:
        if not (np.isfinite(sites.lattice).all() and np.isfinite(sites.frac_coords).all()):
            raise ValueError("a coordinate is not a number")  # spglib would crash the process
        data = bare_symmetry(sites, SYMPREC)
        if data is None:
            raise ValueError("no space group")
        # From the standard origin every translation is a multiple of 1/24, as "x,y,z" operations need it.
        origin = np.linalg.solve(data.transformation_matrix, data.origin_shift)
        translations = data.translations + origin - data.rotations @ origin
        self.rotations = np.round(data.rotations).astype(int)
        self.translations = np.round(24 * translations) / 24
        if np.abs(self.translations - translations).max() > 0.01:
            raise ValueError("the cell is not a conventional one")
        self.sites = sites
        self.origin = origin
        self.symbol = f"{data.international} [spglib]"  # the bracket: the operations hold, not the symbol
        self.orbit, self.member = np.unique(data.crystallographic_orbits, return_inverse=True)
        self.positions = sites.frac_coords[self.orbit] + origin

        coords = sites.frac_coords + origin
        images = np.einsum("kij,nj->nki", self.rotations, self.positions) + self.translations
        difference = nearest_image(images[self.member] - coords[:, None])
        self.operation = np.linalg.norm(difference @ sites.lattice, axis=-1).argmin(axis=1)

    @property
    def triplets(self) -> list[str]:
        """The operations as "x,y,z" strings."""
        import gemmi

        out = []
        for rotation, translation in zip(self.rotations, self.translations, strict=True):
            operation = gemmi.Op()
            operation.rot = (24 * rotation).tolist()
            operation.tran = np.round(24 * translation).astype(int).tolist()
            out.append(operation.wrap().triplet())
        return out

    @property
    def species(self) -> list[str]:
        """One symbol an orbit."""
        return [self.sites.species[i] for i in self.orbit]

    def moved(self, lengths: np.ndarray, positions: np.ndarray) -> AtomSites:
        """All atoms, in the order given, for new cell edges and new positions of one atom an orbit."""
        old = np.linalg.norm(self.sites.lattice, axis=1)
        lattice = self.sites.lattice * (lengths / old)[:, None]
        rotation, translation = self.rotations[self.operation], self.translations[self.operation]
        coords = np.einsum("nij,nj->ni", rotation, positions[self.member]) + translation - self.origin
        return AtomSites(lattice, self.sites.species, coords % 1.0)


class _Deadline:
    """What rietx asks between two evaluations: time to stop? CPU seconds of the thread that made it."""

    def __init__(self, seconds: float) -> None:
        self.end = time.thread_time() + seconds

    def is_set(self) -> bool:
        return time.thread_time() >= self.end


class _Rietveld:
    """One candidate in rietx: fitted to a thinned copy of the pattern, evaluated on the whole."""

    def __init__(self, pattern: Pattern, peaks: Peaks, crystal: _Crystal, zero_shift: float) -> None:
        from rietx import PatternData, Refinement, Structure

        self.pattern, self.peaks, self.crystal = pattern, peaks, crystal
        two_theta, intensity, sigma, background = _thinned(pattern, peaks)
        self.ends = two_theta[0], two_theta[-1]
        self.weight_sum = float(((intensity / sigma) ** 2).sum())
        self.data = PatternData(two_theta=two_theta.tolist(), intensity=intensity.tolist(), sigma=sigma.tolist())
        instrument = _instrument(peaks, zero_shift, two_theta, background)
        corrections, self.remarks = dispersion(crystal.species, peaks.radiation)
        source = instrument.source.model_copy(update={"dispersion": corrections})
        instrument = instrument.model_copy(update={"source": source})
        self.model = Refinement(Structure(phases=[_phase(crystal)]), instrument, history=False)
        self.rwp = np.inf  # the library's own, background included: to weigh restraints and to compare stages
        unexplained = [f"phases.0.atoms.{i}.occ" for i, symbol in enumerate(crystal.species) if symbol == "X"]
        self.displacement = (*DISPLACEMENT, *unexplained)
        self._tie()

    def profile(self, deadline: _Deadline) -> None:
        """Scale and background, zero and cell, widths, B and the occupancy of unexplained sites."""
        stages = {"scale": SCALE, "cell": CELL, "widths": WIDTHS, "displacement": self.displacement}
        self._run(stages, deadline)

    def coordinates(self, deadline: _Deadline) -> None:
        """Coordinates, held softly to their start; what went astray or fits no better is taken back."""
        before = self.model, self.rwp
        try:
            self._free_coordinates(deadline)
            shift = (self._positions() - self.crystal.positions) @ self.crystal.sites.lattice
            kept = self.rwp < before[1] and np.linalg.norm(shift, axis=1).max() <= MAX_SHIFT
        except Exception as error:  # as in `refine`, and the profile's fit stands
            kept = False
            self.remarks += (f"the coordinates could not be refined ({short_reason(error)})",)
        if not kept:
            self.model, self.rwp = before

    def _free_coordinates(self, deadline: _Deadline) -> None:
        from rietx import Refinement
        from rietx.schemas.structure import ValueRestraint

        paths = [row.path for row in self.model.parameters() if ".dof." in row.path]
        if not 0 < len(paths) <= len(self.peaks) or not np.isfinite(self.rwp):  # no more unknowns than lines
            return
        structure = self.model.fitted_structure.model_copy(deep=True)
        edge = float(np.linalg.norm(self.crystal.sites.lattice, axis=1).max())
        chi_squared = self.rwp**2 * self.weight_sum
        structure.phases[0].restraints = [
            ValueRestraint(path=path, target=0.0, sigma=SHIFT_SIGMA / edge, weight=SHIFT_COST * chi_squared)
            for path in paths
        ]
        self.model = Refinement(structure, self.model.fitted_instrument, history=False)
        self._tie()
        self._run({"coordinates": (*SCALE, *self.displacement, *COORDINATES)}, deadline)

    def result(self) -> Fit:
        """The fit as it stands, on all points of the pattern."""
        from rietx import Refinement
        from rietx.schemas.instrument import BackgroundChebyshev

        structure, instrument = self.model.fitted_structure, self.model.fitted_instrument
        x = 2 * (self.pattern.two_theta - self.ends[0]) / (self.ends[1] - self.ends[0]) - 1
        terms = [term.value for term in instrument.background.chebyshev.coefficients]
        background = self.peaks.background + np.polynomial.chebyshev.chebval(np.clip(x, -1, 1), terms)
        bare = instrument.model_copy(update={"background": BackgroundChebyshev()})
        lines = Refinement(structure, bare, history=False).predict(self.pattern.two_theta)
        cell = structure.phases[0].cell
        sites = self.crystal.moved(np.array([cell.a.value, cell.b.value, cell.c.value]), self._positions())
        zero = float(instrument.zero_shift.value)
        return Fit(
            sites=sites,
            rwp=weighted_profile_r(self.pattern, background + lines, background),
            calculated=background + lines,
            background=background,
            hkl_two_theta=_line_positions(sites, self.peaks) + zero,
            zero_shift=zero,
            remarks=self.remarks,
            r_expected=float(1 / np.sqrt(np.mean(((self.pattern.intensity - background) / self.pattern.sigma) ** 2))),
        )

    def _run(self, stages: dict[str, tuple[str, ...]], deadline: _Deadline) -> None:
        from rietx import RefinementCancelled
        from rietx.strategy.staged import RefinementPlan, Stage

        steps = [Stage(n, list(free), max_iter=MAX_ITERATIONS, ftol=TOLERANCE) for n, free in stages.items()]
        plan = RefinementPlan(steps, closing_window_tol=None)  # do not repeat the last for the far tails
        try:
            result = self.model.fit(self.data, plan=plan, cancel=deadline, telemetry=False)
            self.rwp = float(result.statistics.rwp)
        except RefinementCancelled:  # the stages that were completed stand
            pass

    def _tie(self) -> None:
        """One B for all atoms: B of single elements imitates wrong elements. Equal edges stay equal."""
        atoms = range(len(self.crystal.orbit))
        if len(atoms) > 1:
            self.model.tie_equal([f"phases.0.atoms.{i}.biso" for i in atoms])
        edges = np.linalg.norm(self.crystal.sites.lattice, axis=1)
        tied = {row.path for row in self.model.parameters() if row.tie is not None}
        for i, name in ((1, "b"), (2, "c")):
            path = f"phases.0.cell.{name}"
            same = [j for j in range(i) if abs(edges[j] / edges[i] - 1) < EQUAL_EDGES]
            if same and path not in tied:
                self.model.tie_equal([path], source=f"phases.0.cell.{'abc'[same[0]]}")

    def _positions(self) -> np.ndarray:
        atoms = self.model.fitted_structure.phases[0].atoms
        return np.array([[atom.x.value, atom.y.value, atom.z.value] for atom in atoms])


def _phase(crystal: _Crystal) -> Phase:
    from pymatgen.core.lattice import Lattice
    from rietx import Atom, Cell, Parameter
    from rietx import Phase as RietxPhase

    lattice = Lattice(crystal.sites.lattice)
    edges = {
        name: Parameter(value=edge, min=(1 - CELL_FREEDOM) * edge, max=(1 + CELL_FREEDOM) * edge)
        for name, edge in zip("abc", lattice.abc, strict=True)
    }
    angles = {
        name: Parameter(value=round(angle, 6))  # exactly 90 and 120, or the library sees another system
        for name, angle in zip(("alpha", "beta", "gamma"), lattice.angles, strict=True)
    }
    atoms = [
        Atom(
            label=f"{symbol}{i}",
            species=STAND_IN if symbol == "X" else symbol,
            x=Parameter(value=x),
            y=Parameter(value=y),
            z=Parameter(value=z),
            biso=Parameter(value=B_START, min=B_MIN, max=B_MAX),
        )
        for i, (symbol, (x, y, z)) in enumerate(zip(crystal.species, crystal.positions.tolist(), strict=True))
    ]
    return RietxPhase(
        name="candidate",
        space_group=crystal.symbol,
        symmetry_operations=crystal.triplets,
        cell=Cell(**edges, **angles),
        atoms=atoms,
        floating_origin="hold",
    )


def dispersion(species: Iterable[str], radiation: Radiation) -> tuple[Dispersion, tuple[str, ...]]:
    """Anomalous scattering of the elements at the lines of a source, and a remark on each that has none tabulated.

    The tables (Cromer & Liberman, J. Chem. Phys. 53, 1891, 1970; as rietx has them) cannot be interpolated where an
    absorption edge lies in the interval around the wavelength (Eu and Ho at Cu Kα, Ru at Ag Kα), and end at 3 and
    70 keV: there an element scatters as f₀ alone, which misses its line intensities by some per cent.
    """
    from rietx.crystallography.dispersion import resolve
    from rietx.schemas.instrument import Dispersion

    wavelengths = tuple(wavelength for wavelength, _ in radiation.lines)
    refused = {}
    for symbol in sorted({STAND_IN if s == "X" else s for s in species}):
        try:
            resolve([symbol], wavelengths)
        except (KeyError, ValueError) as error:
            refused[symbol] = short_reason(error)
    remarks = tuple(
        f"{symbol} scatters without its anomalous part (f₀ alone) at {radiation.wavelength:.4f} Å: {reason}"
        for symbol, reason in refused.items()
    )
    return Dispersion(overrides=dict.fromkeys(refused, NEUTRAL)), remarks


def _instrument(peaks: Peaks, zero_shift: float, two_theta: np.ndarray, background: np.ndarray) -> Instrument:
    from rietx import Instrument, Parameter
    from rietx.schemas.instrument import (
        BackgroundChebyshev,
        BackgroundFixedPlusChebyshev,
        EmissionLine,
        Geometry,
        ProfileTCHZ,
        Source,
    )

    radiation = peaks.radiation
    source = Source(
        lines=[
            EmissionLine(
                wavelength=Parameter(value=wavelength),
                weight=Parameter(value=weight / radiation.lines[0][1], min=0.0, max=1.0),
            )
            for wavelength, weight in radiation.lines
        ],
        polarization=Parameter(value=1 / (1 + radiation.polarisation), min=0.0, max=1.0),  # σ-polarised part
    )
    fwhm = float(np.median(peaks.fwhm))
    knots = np.unique(np.linspace(0, len(two_theta) - 1, BACKGROUND_POINTS).astype(int))
    return Instrument(
        source=source,
        geometry=Geometry(kind="debye_scherrer"),
        zero_shift=Parameter(value=zero_shift, min=zero_shift - ZERO_FREEDOM, max=zero_shift + ZERO_FREEDOM),
        profile=ProfileTCHZ.coarse(w=(0.7 * fwhm) ** 2, x=0.4 * fwhm),  # together about as wide as the lines
        background=BackgroundFixedPlusChebyshev(
            fixed_two_theta=two_theta[knots].tolist(),
            fixed_intensity=background[knots].tolist(),
            chebyshev=BackgroundChebyshev.with_terms(BACKGROUND_TERMS),
        ),
    )


def _thinned(pattern: Pattern, peaks: Peaks) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """2θ, intensity, σ, background: averaged to POINTS_PER_FWHM of a narrow line, spacings from D_MIN."""
    used = pattern.two_theta <= _two_theta(D_MIN, peaks.radiation)
    columns = (pattern.two_theta, pattern.intensity, pattern.sigma, peaks.background)
    x, y, sigma, background = (column[used] for column in columns)
    width = float(np.percentile(peaks.fwhm, 20)) / POINTS_PER_FWHM
    _, bins, count = np.unique(np.floor((x - x[0]) / width), return_inverse=True, return_counts=True)
    mean = [np.bincount(bins, a) / count for a in (x, y, background)]
    return mean[0], mean[1], np.sqrt(np.bincount(bins, sigma**2)) / count, mean[2]


def _line_positions(sites: AtomSites, peaks: Peaks) -> np.ndarray:
    """2θ of the lines that the crystal has in the observed range, degrees."""
    numbers = atomic_numbers(sites.species)
    known = numbers > 0
    coords, wavelength = sites.frac_coords[known], peaks.radiation.wavelength
    lines = reflections(sites.lattice, coords, numbers[known], wavelength, peaks.two_theta_max)
    return np.asarray(lines.two_theta[lines.two_theta >= peaks.two_theta_min])
