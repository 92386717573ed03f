"""Atoms refined against line intensities within their space group: the compiled op, and its reference in numpy.

See cpp/include/crystalnet/fit_sites.hpp for what is minimised. Needs numpy only, and torch only for a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crystalnet.crystal.free_sites import FreeSites
from crystalnet.ops._native import native, native_cuda
from crystalnet.ops.reflections import form_factor, form_factor_table

if TYPE_CHECKING:
    import torch

MOST_B = 6.0  # Å², of the overall B
MOST_STEP = 0.25  # Å by which a round moves an atom at most
FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-2, 1e-7, 1e6
CONVERGED = 1e-4  # relative change of R² that ends the rounds
FAINT = 1e-9  # of the strongest intensity: below, its square root has no derivative worth having


@dataclass(frozen=True)
class LatticeTargets:
    """What a pattern says of the reflections of one lattice, ascending in |G|, one of each Friedel pair.

    Attributes
    ----------
    lattice : (3, 3) array
        Rows, Å.
    hkl : (R, 3) array of int32
    s_squared, weight : (R,) array
        (sinθ/λ)² in 1/Å²; factor of |F|² (multiplicity, Lorentz-polarisation).
    target : (R,) array of int32
        The observed group of a reflection, or J + m for the m-th line that is not seen, or −1 where it is not used.
    amplitude : (J,) array
        √I_o.
    limit : (M,) array
        The largest s√I that would not be seen.
    least_b : float
        Å², of the overall B.
    """

    lattice: np.ndarray
    hkl: np.ndarray
    s_squared: np.ndarray
    weight: np.ndarray
    target: np.ndarray
    amplitude: np.ndarray
    limit: np.ndarray
    least_b: float

    def down_to(self, d_spacing: float) -> int:
        """Number of reflections with spacings (Å) no shorter than this."""
        return int(np.searchsorted(self.s_squared, 1 / (2 * d_spacing) ** 2, side="right"))


@dataclass(frozen=True)
class Fitted:
    """Of K crystals: free coordinates of each, overall B (K,) in Å², residual R (K,)."""

    u: list[np.ndarray]
    b_iso: np.ndarray
    residual: np.ndarray

    def of(self, chosen: np.ndarray) -> Fitted:
        """Those with these numbers, in this order."""
        return Fitted([self.u[i] for i in chosen], self.b_iso[chosen], self.residual[chosen])


def fit_sites(
    targets: LatticeTargets,
    crystals: Sequence[FreeSites],
    atomic_numbers: Sequence[np.ndarray],
    start: Fitted | None = None,
    *,
    d_min: float = 0.0,
    rounds: int = 10,
    hold: float = 0.0,
    threads: int = 1,
    device: torch.device | None = None,
) -> Fitted:
    """Crystals fitted by at most `rounds` rounds of Levenberg–Marquardt to the lines of spacings ≥ d_min (Å).

    atomic_numbers: (N,) of each crystal. start: where they begin; else at u = 0 and B = 0.5 Å².
    hold: 1/Å²; a free coordinate that has moved its atoms by δ from u = 0 adds hold·δ² of the R² at the start. So what
    the lines hardly show stays, and what they show well moves.
    device: a GPU that shall do it, if the build has kernels for it; else so many `threads` do.
    """
    module = native()
    start = start or Fitted([np.zeros(c.free) for c in crystals], np.full(len(crystals), 0.5), np.zeros(0))
    used = targets.down_to(d_min) if d_min > 0 else len(targets.hkl)
    if module is None:
        each = [
            reference_fit(targets, c, z, u, b, used, rounds, hold)
            for c, z, u, b in zip(crystals, atomic_numbers, start.u, start.b_iso.tolist(), strict=True)
        ]
        return Fitted([e[0] for e in each], np.array([e[1] for e in each]), np.array([e[2] for e in each]))
    atoms = np.cumsum([0, *(len(c.frac_coords) for c in crystals)])
    free = np.cumsum([0, *(c.free for c in crystals)])
    arrays = [
        np.ascontiguousarray(a, dtype)
        for a, dtype in (
            (atoms, np.int64),
            (free, np.int64),
            (_joined(atomic_numbers, ()), np.int64),
            (_joined([c.frac_coords for c in crystals], (3,)), np.float64),
            (_joined([c.directions for c in crystals], (3, 3)), np.float64),
            (_joined([c.columns for c in crystals], (3,)), np.int32),
            (form_factor_table(), np.float64),
            (_held(crystals, targets.lattice, hold), np.float64),
        )
    ]
    lines = [
        np.ascontiguousarray(a, dtype)
        for a, dtype in (
            (targets.hkl, np.int32), (targets.s_squared, np.float64), (targets.weight, np.float64),
            (targets.target, np.int32), (targets.amplitude, np.float64), (targets.limit, np.float64),
            (targets.lattice, np.float64),
        )
    ]  # fmt: skip
    u, b_iso = _joined(start.u, ()).astype(np.float64).copy(), np.array(start.b_iso, np.float64)
    residual = np.ones(len(crystals))
    hkl, s_squared, weight, target, amplitude, limit, lattice = (a.ctypes.data for a in lines)
    arguments = (
        len(targets.hkl), hkl, s_squared, weight, target, len(targets.amplitude), amplitude, len(targets.limit), limit,
        lattice, targets.least_b, used, len(crystals), *(a.ctypes.data for a in arrays),
    )  # fmt: skip
    results = (u.ctypes.data, b_iso.ctypes.data, residual.ctypes.data)
    if device is not None and device.type == "cuda" and native_cuda() is not None:
        import torch  # here, since work on the CPU must not wait for it

        workspace = torch.empty(module.fit_sites_workspace(*arguments), dtype=torch.uint8, device=device)
        with torch.cuda.device(device):
            stream = torch.cuda.current_stream().cuda_stream
            module.fit_sites_cuda(*arguments, rounds, workspace.data_ptr(), *results, stream)
    else:
        module.fit_sites(*arguments, rounds, threads, *results)
    return Fitted(np.split(u, free[1:-1]) if len(crystals) else [], b_iso, residual)


def _joined(parts: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    return np.concatenate([np.asarray(p).reshape(-1, *shape) for p in parts]) if parts else np.zeros((0, *shape))


def _held(crystals: Sequence[FreeSites], lattice: np.ndarray, hold: float) -> np.ndarray:
    """What each free coordinate of all crystals is held with."""
    if hold == 0:  # a search fits thousands of starts, and holds none
        return np.zeros(sum(c.free for c in crystals))
    return hold * _joined([_lengths(c, lattice) ** 2 for c in crystals], ())


def _lengths(crystal: FreeSites, lattice: np.ndarray) -> np.ndarray:
    """(K,) Å by which a unit of each free coordinate moves an atom that it moves."""
    lengths = np.zeros(crystal.free)
    each = np.linalg.norm(np.einsum("nik,ij->nkj", crystal.directions, lattice), axis=2)
    free = crystal.columns >= 0
    np.maximum.at(lengths, crystal.columns[free], each[free])
    return lengths


# --- the reference ---------------------------------------------------------------------------------------------------


def reference_fit(
    targets: LatticeTargets,
    crystal: FreeSites,
    atomic_numbers: np.ndarray,
    u: np.ndarray,
    b_iso: float,
    used: int,
    rounds: int,
    hold: float = 0.0,
) -> tuple[np.ndarray, float, float]:
    """(u, B, R) of one crystal: the same rounds in plain numpy, in double precision."""
    model = _Model(targets, crystal, atomic_numbers, used)
    u, b = u.copy(), b_iso
    calculated, slopes = model.amplitudes(u, b)
    scale = model.best_scale(calculated)
    difference = model.difference(calculated, scale)
    misfit = float(difference @ difference)
    held = (misfit + model.constant) * hold * _lengths(crystal, targets.lattice) ** 2
    cost, damping = misfit + float(held @ u**2), FIRST_DAMPING
    for _ in range(rounds):
        jacobian = model.jacobian(calculated, slopes, scale)
        normal = jacobian.T @ jacobian + np.diag([*held, 0.0, 0.0])
        gradient = jacobian.T @ difference + np.array([*(held * u), 0.0, 0.0])
        before = cost
        while damping < MOST_DAMPING:
            diagonal = damping * np.diag(normal) + 1e-12 * np.diag(normal).max(initial=0.0)
            try:
                step = -np.linalg.solve(normal + np.diag(diagonal), gradient)
            except np.linalg.LinAlgError:
                damping *= 10
                continue
            step[:-2] *= model.shortening(step[:-2])
            new_u, new_b = u + step[:-2], float(np.clip(b + step[-2], targets.least_b, MOST_B))
            new_scale = max(scale + step[-1], 1e-3 * scale)
            new_calculated, new_slopes = model.amplitudes(new_u, new_b)
            new_difference = model.difference(new_calculated, new_scale)
            new_misfit = float(new_difference @ new_difference)
            new_cost = new_misfit + float(held @ new_u**2)
            if new_cost < cost:
                u, b, scale, calculated, slopes = new_u, new_b, new_scale, new_calculated, new_slopes
                difference, misfit, cost = new_difference, new_misfit, new_cost
                damping = max(damping / 10, LEAST_DAMPING)
                break
            damping *= 10
        if before - cost < CONVERGED * before:
            break
    return u, b, float(np.sqrt((misfit + model.constant) / model.total)) if model.total > 0 else 1.0


class _Model:
    """Amplitudes √I of the targets that lie wholly in the reflections used, and their derivatives."""

    def __init__(self, targets: LatticeTargets, crystal: FreeSites, atomic_numbers: np.ndarray, used: int) -> None:
        n, seen = len(targets.amplitude) + len(targets.limit), len(targets.amplitude)
        whole, met = np.ones(n, bool), np.zeros(n, bool)
        met[targets.target[targets.target >= 0]] = True
        beyond = targets.target[used:]
        whole[beyond[beyond >= 0]] = False
        values = np.concatenate([targets.amplitude, targets.limit])
        is_seen = np.arange(n) < seen
        self.total = float((values[whole & is_seen] ** 2).sum())
        self.constant = float((values[is_seen & ~met] ** 2).sum())
        kept = np.flatnonzero(whole & met)
        number = np.full(n + 1, -1)
        number[kept] = np.arange(len(kept))
        target = number[targets.target[:used]]  # −1 looks up the last, which is none
        chosen = target >= 0
        self.target, self.values, self.seen = target[chosen], values[kept], is_seen[kept]
        self.hkl = targets.hkl[:used][chosen].astype(float)
        self.s_squared, self.weight = targets.s_squared[:used][chosen], targets.weight[:used][chosen]
        self.crystal, self.lattice = crystal, targets.lattice
        kinds, kind = np.unique(atomic_numbers, return_inverse=True)
        self.form = np.stack([form_factor(z, self.s_squared) for z in kinds.tolist()], axis=1)[:, kind]  # (R, N)

    def amplitudes(self, u: np.ndarray, b_iso: float) -> tuple[np.ndarray, np.ndarray]:
        """√I (T,) and dI (T, K + 1) of the coordinates and of B."""
        x = self.crystal.moved(u)
        waves = self.form * np.exp(2j * np.pi * self.hkl @ x.T)
        factor = waves.sum(axis=1)
        decay = self.weight * np.exp(-2 * b_iso * self.s_squared)
        intensity = decay * np.abs(factor) ** 2
        slope = np.zeros((len(self.hkl), len(u) + 1), complex)
        along = np.einsum("ri,nik->rnk", self.hkl, self.crystal.directions)
        for k in range(3):
            column = self.crystal.columns[:, k]
            for n in np.flatnonzero(column >= 0):
                slope[:, column[n]] += 2j * np.pi * along[:, n, k] * waves[:, n]
        slopes = 2 * decay[:, None] * (factor.conj()[:, None] * slope).real
        slopes[:, -1] = -2 * self.s_squared * intensity
        sums = np.zeros((len(self.values), len(u) + 1))
        np.add.at(sums, self.target, slopes)
        return np.sqrt(np.bincount(self.target, intensity, len(self.values))), sums

    def difference(self, calculated: np.ndarray, scale: float) -> np.ndarray:
        """(T,) s√I − √I_o, of lines not seen only what exceeds their limit."""
        excess = scale * calculated - self.values
        return np.asarray(np.where(self.seen | (excess > 0), excess, 0.0))

    def best_scale(self, calculated: np.ndarray) -> float:
        """Which lines exceed their limits depends on the scale: three rounds settle it."""
        scale = 0.0
        for turn in range(4):
            counts = self.seen | ((turn > 0) & (scale * calculated > self.values))
            power = float((calculated[counts] ** 2).sum())
            scale = float(calculated[counts] @ self.values[counts]) / power if power > 0 else 0.0
        return scale

    def jacobian(self, calculated: np.ndarray, slopes: np.ndarray, scale: float) -> np.ndarray:
        """(T, K + 2): of the coordinates, of B and of the scale."""
        counts = self.seen | (scale * calculated > self.values)
        faint = np.sqrt(FAINT) * calculated.max(initial=0.0) + 1e-300
        half = np.where(counts, scale / (2 * np.maximum(calculated, faint)), 0.0)
        return np.column_stack([slopes * half[:, None], np.where(counts, calculated, 0.0)])

    def shortening(self, step: np.ndarray) -> float:
        """Factor by which a step is shortened so that no atom moves by more than MOST_STEP."""
        own = np.where(self.crystal.columns >= 0, np.append(step, 0.0)[self.crystal.columns], 0.0)
        moved = np.einsum("nij,nj->ni", self.crystal.directions, own) @ self.lattice
        most = float(np.linalg.norm(moved, axis=1).max(initial=0.0))
        return min(1.0, MOST_STEP / most) if most > 0 else 1.0
