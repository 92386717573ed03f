"""How well does a candidate crystal explain the measured profile? Rietveld's method, through rietx.

`residual.intensity_residual` compares line intensities alone, fast enough for hundreds of candidates in one cell.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from crystalnet.crystal.elements import atomic_numbers
from crystalnet.crystal.lattice import TRANSLATION_STEPS, axes_of, nearest_image
from crystalnet.crystal.symmetry import SYMPREC, bare_symmetry, laue_group, operation
from crystalnet.crystal.systems import system_of
from crystalnet.ops.reflections import reflections
from crystalnet.records import AtomSites, Fit, Pattern, Peaks, short_reason
from crystalnet.xrd.binning import Bins
from crystalnet.xrd.refined_lines import lines_of
from crystalnet.xrd.residual import D_MIN, end_of_lines, judged
from crystalnet.xrd.rietx_model import dispersion, instrument, phase

if TYPE_CHECKING:
    from rietx import Instrument

POINTS_PER_FWHM = 6  # five are enough to refine a line; more only cost time
POINTS_DRAWN = 8  # in the width of a refined line; a cubic spline through them is off by 0.001 of its height
# Beyond D_MIN lines are calculated, to be drawn, only until there are so many in all. With a wavelength that is far too
# short there were 14,000, each as wide as the pattern: 18 GB.
MOST_LINES = 2000
MAX_SHIFT = 0.3  # Å; an atom that wants to go farther belongs to another structure
SHIFT_SIGMA, SHIFT_COST = 0.15, 0.01  # a coordinate this far (Å) from its start costs this share of χ²
# Paths freed stage by stage, each stage keeping what the one before freed (McCusker et al., 1999). A zero
# shift and no specimen displacement: in a laboratory's range they are one parameter. Measured on 32 patterns:
# freeing both, the zero within ±0.15°, lowers no Rwp by more than 0.002; unbounded they run to ±2.5°.
SCALE = ("phases.*.scale", "instrument.background.c*")
CELL = ("instrument.zero_shift", "phases.*.cell.[abc]")  # and the angles that the system leaves free
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
    max_seconds: float = 6.0,
) -> Fit:
    """Fit a candidate to the measured profile: scale and background, zero and cell, widths, B, coordinates.

    Parameters
    ----------
    pattern : Pattern
    peaks : Peaks
        Of the pattern.
    sites : AtomSites
        A conventional cell. Its space group is found and kept, and so are angles and equal edges.
    zero_shift : float
        Degrees, the start.
    free_coordinates : bool
        Refine the coordinates after all else.
    max_seconds : float
        What is not refined by then stays as it was. CPU time of the calling thread, so that a busy machine gives the
        same answer as an idle one.

    Returns
    -------
    Fit
        Rwp = √(Σw(y_o−y_c)²/Σw(y_o−background)²), w = 1/σ², over the measured points that are fitted, spacings from
        D_MIN: the same for every candidate. One that cannot be fitted comes back as given, with the background as its
        calculated profile, Rwp 1 and the reason in
        `Fit.failure`; nothing is raised. What was done otherwise than asked for (an element that scatters without
        dispersion, coordinates that could not be refined) stands in `Fit.remarks`.

    References
    ----------
    Rietveld, J. Appl. Cryst. 2, 65 (1969); McCusker et al., J. Appl. Cryst. 32, 36 (1999).
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
    """Rwp without the background, 0 to 1: √(Σw(y_o−y_c)²/Σw(y_o−background)²), w = 1/σ².

    Parameters
    ----------
    pattern : Pattern
    calculated, background : ndarray, shape (n,)
        On the points of the pattern; the calculated profile includes the background.
    """
    residual = (pattern.intensity - calculated) / pattern.sigma
    signal = (pattern.intensity - background) / pattern.sigma
    return float(np.sqrt((residual @ residual) / (signal @ signal)))


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
        self.translations = np.round(TRANSLATION_STEPS * translations) / TRANSLATION_STEPS
        if np.abs(self.translations - translations).max() > 0.01:
            raise ValueError("the cell is not a conventional one")
        self.sites = sites
        self.origin = origin
        self.angles = [name for name in system_of(data.number).free if name not in "abc"]
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
        steps = np.round(TRANSLATION_STEPS * self.translations)
        return [operation(*one).triplet() for one in zip(self.rotations, steps, strict=True)]

    @property
    def species(self) -> list[str]:
        """One symbol an orbit."""
        return [self.sites.species[i] for i in self.orbit]

    @property
    def asymmetric_unit(self) -> AtomSites:
        """One atom of each orbit, from the standard origin."""
        return AtomSites(self.sites.lattice, tuple(self.species), self.positions)

    def moved(self, lattice: np.ndarray, positions: np.ndarray) -> AtomSites:
        """All atoms, in the order given, for a new lattice (3, 3) and new positions of one atom an orbit."""
        rotation, translation = self.rotations[self.operation], self.translations[self.operation]
        coords = np.einsum("nij,nj->ni", rotation, positions[self.member]) + translation - self.origin
        return AtomSites(lattice, self.sites.species, coords % 1.0)

    def moved_esd(self, esd: np.ndarray) -> np.ndarray:
        """(N, 3) of all atoms from those (n, 3) of one atom an orbit; nan where an operation mixes coordinates.

        Mixed ones would need their correlations too.
        """
        rotation = np.abs(self.rotations[self.operation])
        moved = np.einsum("nij,nj->ni", rotation, np.nan_to_num(esd)[self.member])
        known = np.einsum("nij,nj->ni", rotation, np.isfinite(esd)[self.member].astype(int)) == 1
        return np.where(known & (rotation.sum(axis=2) == 1), moved, np.nan)


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
        start = instrument(peaks, zero_shift, two_theta, background)
        corrections, self.remarks = dispersion(crystal.species, peaks.radiation)
        source = start.source.model_copy(update={"dispersion": corrections})
        start = start.model_copy(update={"source": source})
        candidate = phase(crystal.asymmetric_unit, crystal.symbol, crystal.triplets, self.peaks.radiation.wavelength)
        self.model = Refinement(Structure(phases=[candidate]), start, history=False)
        self.rwp = np.inf  # the library's own, background included: to weigh restraints and to compare stages
        self.esd: dict[str, float] = {}  # by the library's paths, of what was refined or follows it
        self.free: set[str] = set()  # paths of what was refined
        unexplained = [f"phases.0.atoms.{i}.occ" for i, symbol in enumerate(crystal.species) if symbol == "X"]
        self.displacement = (*DISPLACEMENT, *unexplained)
        self._tie()

    def profile(self, deadline: _Deadline) -> None:
        """Scale and background, zero and cell, widths, B and the occupancy of unexplained sites."""
        cell = (*CELL, *(f"phases.*.cell.{name}" for name in self.crystal.angles))
        stages = {"scale": SCALE, "cell": cell, "widths": WIDTHS, "displacement": self.displacement}
        self._run(stages, deadline)

    def coordinates(self, deadline: _Deadline) -> None:
        """Coordinates, held softly to their start; what went astray or fits no better is taken back."""
        before = self.model, self.rwp, self.esd, self.free
        try:
            self._free_coordinates(deadline)
            shift = (self._positions() - self.crystal.positions) @ self.crystal.sites.lattice
            kept = self.rwp < before[1] and np.linalg.norm(shift, axis=1).max() <= MAX_SHIFT
        except Exception as error:  # as in `refine`, and the profile's fit stands
            kept = False
            self.remarks += (f"the coordinates could not be refined ({short_reason(error)})",)
        if not kept:
            self.model, self.rwp, self.esd, self.free = before

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
        """The fit as it stands, on all points of the pattern; beyond `_end_of_lines` without lines."""
        from rietx import PatternData
        from rietx.model.forward import compile_model
        from rietx.params.vector import ParameterTable
        from rietx.schemas.instrument import BackgroundChebyshev
        from scipy.interpolate import CubicSpline

        structure, instrument = self.model.fitted_structure, self.model.fitted_instrument
        x = 2 * (self.pattern.two_theta - self.ends[0]) / (self.ends[1] - self.ends[0]) - 1
        terms = [term.value for term in instrument.background.chebyshev.coefficients]
        background = self.peaks.background + np.polynomial.chebyshev.chebval(np.clip(x, -1, 1), terms)
        bare = instrument.model_copy(update={"background": BackgroundChebyshev()})
        net, fitted = self.pattern.intensity - background, judged(self.pattern.two_theta, self.peaks.radiation)
        end = self._end_of_lines()
        reached = self.pattern.two_theta <= end
        two_theta = self.pattern.two_theta[reached]
        bins = _bins(two_theta, _narrowest(two_theta, instrument, self.peaks) / POINTS_DRAWN)
        at = bins.mean(two_theta)
        # As `Refinement.predict` does, which keeps the compiled model, and with it the reflections, to itself.
        grid = PatternData(two_theta=at.tolist(), intensity=[0.0] * len(at))
        table = ParameterTable(structure, bare)
        values = table.decode(table.x0())
        model = compile_model(structure, bare, grid, moving_paths=set(table.moving_paths))
        profile = np.asarray(model.evaluate(values))
        lines = np.zeros(len(self.pattern))
        lines[reached] = CubicSpline(at, profile)(two_theta)
        cell = structure.phases[0].cell
        parameters = (getattr(cell, name).value for name in ("a", "b", "c", "alpha", "beta", "gamma"))
        sites = self.crystal.moved(axes_of(*parameters), self._positions())
        remark = () if reached.all() else (f"its lines are drawn up to 2θ = {end:.0f}° only",)
        zero = float(instrument.zero_shift.value)
        refined = {"scale": structure.phases[0].scale, "b_iso": structure.phases[0].atoms[0].biso}
        refined |= {name: getattr(instrument.profile, name) for name in "uvwxy"}
        return Fit(
            sites=sites,
            rwp=weighted_profile_r(self.pattern.part(fitted), (background + lines)[fitted], background[fitted]),
            calculated=background + lines,
            background=background,
            hkl_two_theta=_line_positions(sites, self.peaks, end) + zero,
            zero_shift=zero,
            remarks=(*self.remarks, *remark),
            r_expected=float(1 / np.sqrt(np.mean((net / self.pattern.sigma)[fitted] ** 2))),
            refined={name: float(parameter.value) for name, parameter in refined.items()},
            esd=self._esd(),
            coordinate_esd=self._coordinate_esd(),
            parameters=len(self.free),
            lines=lines_of(model, values, structure, self.crystal.rotations, at, bins.mean(net[reached]), profile),
        )

    def _end_of_lines(self) -> float:
        """2θ up to which lines are calculated: that of D_MIN, or farther while there are MOST_LINES at the most."""
        rotations = self.crystal.rotations
        centring = (rotations == np.eye(3, dtype=int)).all(axis=(1, 2)).sum()
        volume = abs(np.linalg.det(self.crystal.sites.lattice)) / centring
        # The points of the reciprocal lattice in a sphere of radius 1/d, each for all that symmetry makes of it.
        d_spacing = float(np.cbrt(4 / 3 * np.pi * volume / len(laue_group(rotations)) / MOST_LINES))
        return end_of_lines(min(d_spacing, D_MIN), self.peaks.radiation)

    def _esd(self) -> dict[str, float]:
        """Of the cell, the zero shift, and what `Fit.refined` has."""
        paths = {name: f"phases.0.cell.{name}" for name in ("a", "b", "c", "alpha", "beta", "gamma")}
        paths |= {"zero_shift": "instrument.zero_shift", "scale": "phases.0.scale", "b_iso": "phases.0.atoms.0.biso"}
        paths |= {name: f"instrument.profile.{name}" for name in "uvwxy"}
        return {name: float(self.esd[path]) for name, path in paths.items() if path in self.esd}

    def _coordinate_esd(self) -> np.ndarray | None:
        """(N, 3) of all atoms."""
        if not any(".dof." in path for path in self.free):
            return None
        atoms = range(len(self.crystal.orbit))
        esd = [[self.esd.get(f"phases.0.atoms.{i}.{axis}", np.nan) for axis in "xyz"] for i in atoms]
        return self.crystal.moved_esd(np.array(esd))

    def _run(self, stages: dict[str, tuple[str, ...]], deadline: _Deadline) -> None:
        from rietx import RefinementCancelled
        from rietx.strategy.staged import RefinementPlan, Stage

        steps = [Stage(n, list(free), max_iter=MAX_ITERATIONS, ftol=TOLERANCE) for n, free in stages.items()]
        plan = RefinementPlan(steps, closing_window_tol=None)  # do not repeat the last for the far tails
        try:
            result = self.model.fit(self.data, plan=plan, cancel=deadline, telemetry=False)
            self.rwp = float(result.statistics.rwp)
            self.esd = self.esd | {row.path: row.stderr for row in result.parameters if row.stderr is not None}
            self.free = self.free | {row.path for row in result.parameters if row.vary}
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


def _thinned(pattern: Pattern, peaks: Peaks) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """2θ, intensity, σ, background: averaged to POINTS_PER_FWHM of a narrow line, spacings from D_MIN."""
    used = judged(pattern.two_theta, peaks.radiation)
    columns = (pattern.two_theta, pattern.intensity, pattern.sigma, peaks.background)
    x, y, sigma, background = (column[used] for column in columns)
    bins = _bins(x, _narrow(peaks) / POINTS_PER_FWHM)
    return bins.mean(x), bins.mean(y), np.sqrt(bins.mean(sigma**2) / bins.count), bins.mean(background)


def _bins(two_theta: np.ndarray, width: float) -> Bins:
    """Points (n,), ascending, in bins of so many degrees."""
    return Bins(np.floor((two_theta - two_theta[0]) / width).astype(int))


def _narrow(peaks: Peaks) -> float:
    """Width of a narrow line, degrees."""
    return float(np.percentile(peaks.fwhm, 20))


def _narrowest(two_theta: np.ndarray, instrument: Instrument, peaks: Peaks) -> float:
    """Width of the narrowest refined line, degrees; no less than a measured one's, for a fit that makes lines narrower
    has not seen them.
    """
    from rietx.model.profiles.caglioti import gaussian_fwhm, lorentzian_fwhm

    u, v, w, x, y = (float(getattr(instrument.profile, name).value) for name in "uvwxy")
    theta = two_theta / 2
    widths = np.maximum(gaussian_fwhm(theta, u, v, w), lorentzian_fwhm(theta, x, y))  # of the whole line more
    return max(float(widths.min()), _narrow(peaks))


def _line_positions(sites: AtomSites, peaks: Peaks, end: float) -> np.ndarray:
    """2θ of the lines that the crystal has in the observed range up to an end, degrees."""
    numbers = atomic_numbers(sites.species)
    known = numbers > 0
    coords, wavelength = sites.frac_coords[known], peaks.radiation.wavelength
    lines = reflections(sites.lattice, coords, numbers[known], wavelength, min(peaks.two_theta_max, end))
    return np.asarray(lines.two_theta[lines.two_theta >= peaks.two_theta_min])
