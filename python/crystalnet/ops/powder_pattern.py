"""The pattern vector of a batch of crystals, registered with torch as `crystalnet::powder_pattern`.

Definition (CrystalNet paper): kinematic lines at Mo Kα, 0° ≤ 2θ < 180°, each bin holds its strongest line,
highest = 1; equal to pymatgen's `XRDCalculator(wavelength=0.711, symprec=0)`. The lines themselves come from
`crystalnet.ops.reflections`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from crystalnet.bragg import MO_KA, N_BINS, bin_of
from crystalnet.ops._native import native, native_cuda
from crystalnet.ops.choice import NATIVE, Choice, choose
from crystalnet.ops.reflections import (
    RELATIVE_CUT,
    Reflections,
    check_atomic_numbers,
    form_factor_table,
    reference_lines,
    reflections,
)

__all__ = ["Reflections", "powder_pattern", "reference_pattern", "reflections"]
WORTH_A_CHOICE = 16  # crystals, about 10 ms


def powder_pattern(
    lattices: Tensor,
    atom_offsets: Tensor,
    frac_coords: Tensor,
    atomic_numbers: Tensor,
    wavelength: float = MO_KA,
    n_bins: int = N_BINS,
) -> Tensor:
    """Pattern vectors (B, n_bins) float64 of B crystals, on the device of the arguments.

    lattices: (B, 3, 3) float64, rows in Å. atom_offsets: (B + 1,) int64, crystal i owns the atoms
    [offsets[i], offsets[i + 1]). frac_coords: (N, 3) float64. atomic_numbers: (N,) int64. wavelength: Å.
    A crystal without atoms gives zeros. Raises ValueError where the arguments do not fit together.
    """
    result: Tensor = torch.ops.crystalnet.powder_pattern(
        lattices, atom_offsets, frac_coords, atomic_numbers, wavelength, n_bins
    )
    return result


def choose_powder_pattern(crystals: int, device: torch.device) -> Choice:
    """The faster way to simulate on this machine, by two perovskites; native unasked for a few crystals."""
    if crystals < WORTH_A_CHOICE:
        return NATIVE
    halves = torch.tensor([[0, 0, 0], [1, 1, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=torch.float64) / 2
    some = (
        (4 * torch.eye(3, dtype=torch.float64)).repeat(2, 1, 1).to(device),
        torch.tensor([0, 5, 10]).to(device),
        halves.repeat(2, 1).to(device),
        torch.tensor([38, 22, 8, 8, 8]).repeat(2).to(device),
        MO_KA,
        N_BINS,
    )
    native_pattern = _native_pattern_cuda if device.type == "cuda" else _native_pattern
    return choose(
        "powder_pattern",
        device,
        lambda: {"native": lambda: native_pattern(*some), "reference": lambda: reference_pattern(*some)},
    )


def reference_pattern(
    lattices: Tensor,
    atom_offsets: Tensor,
    frac_coords: Tensor,
    atomic_numbers: Tensor,
    wavelength: float = MO_KA,
    n_bins: int = N_BINS,
) -> Tensor:
    """`powder_pattern` in plain numpy, one crystal after the other: the oracle of the compiled kernels."""
    out = torch.zeros(len(lattices), n_bins, dtype=torch.float64)
    offsets = atom_offsets.tolist()
    for i, lattice in enumerate(lattices.cpu().numpy()):
        atoms = slice(offsets[i], offsets[i + 1])
        coords, numbers = frac_coords[atoms].cpu().numpy(), atomic_numbers[atoms].cpu().numpy()
        lines = reference_lines(lattice, coords, numbers, wavelength, 180.0)
        highest = lines.intensity.max(initial=0.0)
        if highest == 0:
            continue
        height = torch.from_numpy(lines.intensity / highest)
        bins = torch.from_numpy(bin_of(lines.two_theta, n_bins))
        keep = (height > RELATIVE_CUT) & (bins < n_bins)
        out[i].scatter_reduce_(0, bins[keep], height[keep], "amax")
    return out.to(lattices.device)


def _check(
    lattices: Tensor,
    atom_offsets: Tensor,
    frac_coords: Tensor,
    atomic_numbers: Tensor,
    wavelength: float,
    n_bins: int,
) -> None:
    count, atoms = len(lattices), len(frac_coords)
    expected = (
        ("lattices", lattices, (count, 3, 3), torch.float64),
        ("atom_offsets", atom_offsets, (count + 1,), torch.int64),
        ("frac_coords", frac_coords, (atoms, 3), torch.float64),
        ("atomic_numbers", atomic_numbers, (atoms,), torch.int64),
    )
    for name, tensor, shape, dtype in expected:
        if tuple(tensor.shape) != shape or tensor.dtype != dtype:
            raise ValueError(f"{name} must be {dtype} {shape}, not {tensor.dtype} {tuple(tensor.shape)}")
    if not wavelength > 0 or n_bins < 1:
        raise ValueError(f"wavelength {wavelength} Å and {n_bins} bins: both must be positive")
    offsets = atom_offsets.cpu()
    if offsets[0] != 0 or offsets[-1] != atoms or bool((offsets.diff() < 0).any()):
        raise ValueError(f"atom_offsets must rise from 0 to the {atoms} atoms")
    if not bool((torch.linalg.det(lattices).abs() > 1e-3).all()) or not bool(frac_coords.isfinite().all()):
        raise ValueError("every lattice must span a volume and every coordinate be finite")
    check_atomic_numbers(atomic_numbers.cpu().numpy())


torch.library.define(
    "crystalnet::powder_pattern",
    "(Tensor lattices, Tensor atom_offsets, Tensor frac_coords, Tensor atomic_numbers, "
    "float wavelength, int n_bins) -> Tensor",
)


@torch.library.impl("crystalnet::powder_pattern", "cpu")
def _powder_pattern_cpu(
    lattices: Tensor,
    atom_offsets: Tensor,
    frac_coords: Tensor,
    atomic_numbers: Tensor,
    wavelength: float,
    n_bins: int,
) -> Tensor:
    arguments = (lattices, atom_offsets, frac_coords, atomic_numbers, wavelength, n_bins)
    _check(*arguments)
    if native() is None or choose_powder_pattern(len(lattices), lattices.device).chosen == "reference":
        return reference_pattern(*arguments)
    return _native_pattern(*arguments)


def _native_pattern(
    lattices: Tensor,
    atom_offsets: Tensor,
    frac_coords: Tensor,
    atomic_numbers: Tensor,
    wavelength: float,
    n_bins: int,
) -> Tensor:
    module = native()
    assert module is not None
    arguments = [t.contiguous() for t in (lattices, atom_offsets, frac_coords, atomic_numbers)]
    out = torch.empty(len(lattices), n_bins, dtype=torch.float64)
    module.powder_pattern(
        len(lattices),
        *(t.data_ptr() for t in arguments),
        form_factor_table().ctypes.data,
        wavelength,
        n_bins,
        torch.get_num_threads(),
        out.data_ptr(),
    )
    return out


@torch.library.impl("crystalnet::powder_pattern", "cuda")
def _powder_pattern_cuda(
    lattices: Tensor,
    atom_offsets: Tensor,
    frac_coords: Tensor,
    atomic_numbers: Tensor,
    wavelength: float,
    n_bins: int,
) -> Tensor:
    arguments = (lattices, atom_offsets, frac_coords, atomic_numbers, wavelength, n_bins)
    _check(*arguments)
    if native_cuda() is None or choose_powder_pattern(len(lattices), lattices.device).chosen == "reference":
        return reference_pattern(*arguments)
    return _native_pattern_cuda(*arguments)


def _native_pattern_cuda(
    lattices: Tensor,
    atom_offsets: Tensor,
    frac_coords: Tensor,
    atomic_numbers: Tensor,
    wavelength: float,
    n_bins: int,
) -> Tensor:
    module = native()
    assert module is not None
    device = lattices.device
    arguments = [t.contiguous() for t in (lattices, atom_offsets, frac_coords, atomic_numbers)]
    table = torch.tensor(form_factor_table(), device=device)
    capacities = [
        module.reflection_capacity(lattice.data_ptr(), wavelength, 180.0) for lattice in lattices.cpu().contiguous()
    ]
    slots = torch.tensor([0, *capacities], device=device).cumsum(0)
    workspace = torch.empty(sum(capacities) * module.slot_bytes, dtype=torch.uint8, device=device)
    out = torch.empty(len(lattices), n_bins, dtype=torch.float64, device=device)
    with torch.cuda.device(device):
        module.powder_pattern_cuda(
            len(lattices),
            *(t.data_ptr() for t in arguments),
            table.data_ptr(),
            wavelength,
            n_bins,
            slots.data_ptr(),
            workspace.data_ptr(),
            out.data_ptr(),
            torch.cuda.current_stream().cuda_stream,
        )
    return out


def _powder_pattern_fake(
    lattices: Tensor,
    atom_offsets: Tensor,
    frac_coords: Tensor,
    atomic_numbers: Tensor,
    wavelength: float,
    n_bins: int,
) -> Tensor:
    return lattices.new_empty(lattices.shape[0], n_bins)


torch.library.register_fake("crystalnet::powder_pattern", _powder_pattern_fake)
