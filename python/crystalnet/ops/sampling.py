"""Stratified samples of density maps, registered with torch as `crystalnet::stratified_sample`.

S³ jittered points for each crystal, one in each cell of an S×S×S division of its unit cell, and the density there
(paper, Methods). The jitter comes from Philox4x32-10 (Salmon et al., SC 2011), a counter-based generator: a point
follows from the seed, the map's row and its own number alone, to the last bit on CPU, CUDA and in the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from crystalnet.ops._native import native, native_cuda
from crystalnet.ops.choice import NATIVE, Choice, choose

Mode = Literal["nearest", "trilinear", "voxel"]  # in the order of the core's SampleMode
MODES: tuple[Mode, ...] = get_args(Mode)
MAX_SAMPLES = MAX_GRID = 1024  # the core counts points and voxels in 31 bits
BELOW_ONE = 1 - 2**-24  # the largest float32 coordinate: 1 itself is the next cell's 0
WORD = 2**32 - 1
WORTH_A_CHOICE, TIMED_CRYSTALS = 20_000, 32  # points, about 1 ms for torch; crystals of the batch that are timed
PHILOX_MULTIPLIERS, PHILOX_WEYL, PHILOX_ROUNDS = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85), 10


def stratified_sample(
    maps: Sequence[Tensor], rows: Tensor, samples: int, seed: int, mode: Mode = "nearest", shared: bool = False
) -> tuple[Tensor, Tensor]:
    """Points (B, S³, 3) in [0, 1) and densities (B, S³), float32, of the B maps that `rows` chooses.

    maps: shards (N_i, n, n, n), all float16 or all float32, periodic, at fractional j/n; a memory-mapped file is read
    only where a point falls. rows: (B,) int64, counted through the shards. samples: S. seed: any int64.
    mode: "nearest" grid point's density, as in the paper; "trilinear" interpolation; "voxel": the points are moved
    onto their nearest grid points, where the density is exact.
    shared: one set of points (S³, 3) for all crystals. Equal rows have equal points.
    Raises ValueError where the arguments do not fit together.
    """
    points, densities = torch.ops.crystalnet.stratified_sample(list(maps), rows, samples, seed, mode, shared)
    return points, densities


def choose_stratified_sample(
    maps: Sequence[Tensor], rows: Tensor, samples: int, seed: int, mode: Mode = "nearest", shared: bool = False
) -> Choice:
    """The faster way to sample on this machine; native unasked for a few points."""
    if len(rows) * samples**3 < WORTH_A_CHOICE:
        return NATIVE
    some = (maps, rows[:TIMED_CRYSTALS], samples, seed, mode, shared)
    return choose(
        f"stratified_sample {str(maps[0].dtype).removeprefix('torch.')} {mode}",
        rows.device,
        lambda: {
            "native": lambda: _native_stratified_sample(*some),
            "reference": lambda: reference_stratified_sample(*some),
        },
    )


def reference_stratified_sample(
    maps: Sequence[Tensor], rows: Tensor, samples: int, seed: int, mode: Mode = "nearest", shared: bool = False
) -> tuple[Tensor, Tensor]:
    """`stratified_sample` in plain torch: the oracle of the compiled kernels."""
    device, n = rows.device, maps[0].shape[-1]
    axis = torch.arange(samples, dtype=torch.float32, device=device)
    corners = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)
    owners = torch.zeros(1, dtype=torch.int64, device=device) if shared else rows
    words = _philox(owners[:, None], torch.arange(len(corners), device=device), seed)
    jitter = (torch.stack(words[:3], dim=-1) >> 8).to(torch.float32) * 2.0**-24
    points = ((corners + jitter) / samples).clamp_max(BELOW_ONE)  # (B or 1, S³, 3)

    shard, row = _places(maps, rows)

    def values(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        found = torch.zeros(len(rows), len(corners), device=device)
        x, y, z = (index.expand_as(found) for index in (x, y, z))
        for number, part in enumerate(maps):
            here = shard == number
            found[here] = part[row[here, None], x[here], y[here], z[here]].float()
        return found

    if mode == "trilinear":
        scaled = points * n
        low = scaled.long().clamp_max(n - 1)
        fraction = scaled - low
        near, far = low.unbind(-1), ((low + 1) % n).unbind(-1)
        densities = torch.zeros(len(rows), len(corners), device=device)
        for corner in range(8):
            chosen = [bool(corner >> a & 1) for a in range(3)]
            x, y, z = (far[a] if chosen[a] else near[a] for a in range(3))
            weights = (fraction[..., a] if chosen[a] else 1 - fraction[..., a] for a in range(3))
            densities += torch.stack(list(weights)).prod(0) * values(x, y, z)
    else:
        voxel = torch.round(points * n).long() % n
        if mode == "voxel":
            points = voxel.to(torch.float32) / n
        densities = values(*voxel.unbind(-1))
    return (points[0] if shared else points), densities


def _philox(row: Tensor, point: Tensor, seed: int) -> list[Tensor]:
    """The four words, int64 tensors of the arguments' common shape, for the counters (point, 0, row)."""
    c = [point & WORD, torch.zeros_like(point), row & WORD, row >> 32 & WORD]
    keys = [seed & WORD, seed >> 32 & WORD]
    for _ in range(PHILOX_ROUNDS):
        # The low 64 bits of a product are the same signed and unsigned; the masks undo the sign of the shift.
        a, b = (PHILOX_MULTIPLIERS[i] * c[2 * i] for i in range(2))
        c = [(b >> 32 & WORD) ^ c[1] ^ keys[0], b & WORD, (a >> 32 & WORD) ^ c[3] ^ keys[1], a & WORD]
        keys = [(key + weyl) & WORD for key, weyl in zip(keys, PHILOX_WEYL, strict=True)]
    return c


def _places(maps: Sequence[Tensor], rows: Tensor) -> tuple[Tensor, Tensor]:
    """Shard and row within it, (B,) each."""
    sizes = torch.tensor([len(part) for part in maps], device=rows.device)
    ends = sizes.cumsum(0)
    shard = torch.bucketize(rows, ends, right=True)
    return shard, rows - (ends - sizes)[shard]


def _check(maps: Sequence[Tensor], rows: Tensor, samples: int, mode: str) -> None:
    if rows.dim() != 1 or rows.dtype != torch.int64:
        raise ValueError(f"rows must be int64 (B,), not {rows.dtype} {tuple(rows.shape)}")
    if not maps:
        raise ValueError("maps must be at least one shard")
    for part in maps:
        n = part.shape[-1] if part.dim() else 0
        if part.dim() != 4 or part.shape[1:] != (n, n, n) or not 1 <= n <= MAX_GRID or n != maps[0].shape[-1]:
            raise ValueError(f"maps must be (N, n, n, n) with one n up to {MAX_GRID}, not {tuple(part.shape)}")
        if part.dtype not in (torch.float16, torch.float32) or part.dtype != maps[0].dtype:
            raise ValueError(f"maps must be all float16 or all float32, not {part.dtype}")
        if part.device != rows.device:
            raise ValueError(f"maps lie on {part.device}, rows on {rows.device}")
    count = sum(len(part) for part in maps)
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < count:
        raise ValueError(f"rows must lie in [0, {count})")
    if not 1 <= samples <= MAX_SAMPLES:
        raise ValueError(f"{samples} samples: need 1 to {MAX_SAMPLES}")
    if mode not in MODES:
        raise ValueError(f"mode {mode!r}: choose one of {', '.join(MODES)}")


def _empty(rows: Tensor, samples: int, shared: bool) -> tuple[Tensor, Tensor]:
    batch, n = rows.shape[0], samples**3
    points = rows.new_empty((n, 3) if shared else (batch, n, 3), dtype=torch.float32)
    return points, rows.new_empty((batch, n), dtype=torch.float32)


torch.library.define(
    "crystalnet::stratified_sample",
    "(Tensor[] maps, Tensor rows, int samples, int seed, str mode, bool shared) -> (Tensor, Tensor)",
)


@torch.library.impl("crystalnet::stratified_sample", ("cpu", "cuda"))
def _stratified_sample(
    maps: Sequence[Tensor], rows: Tensor, samples: int, seed: int, mode: Mode, shared: bool
) -> tuple[Tensor, Tensor]:
    _check(maps, rows, samples, mode)
    arguments = (maps, rows, samples, seed, mode, shared)
    compiled = native_cuda() if rows.is_cuda else native()
    if compiled is None or choose_stratified_sample(*arguments).chosen == "reference":
        return reference_stratified_sample(*arguments)
    return _native_stratified_sample(*arguments)


def _native_stratified_sample(
    maps: Sequence[Tensor], rows: Tensor, samples: int, seed: int, mode: Mode, shared: bool
) -> tuple[Tensor, Tensor]:
    module = native()
    assert module is not None
    # Each map in one piece; the maps of a shard may lie apart.
    maps = [part if part[:1].is_contiguous() else part.contiguous() for part in maps]
    rows = rows.contiguous()
    shard, row = _places(maps, rows)
    starts, strides = (
        torch.tensor(values, device=rows.device)
        for values in zip(*((part.data_ptr(), part.stride(0) * part.element_size()) for part in maps), strict=True)
    )
    addresses = starts[shard] + row * strides[shard]
    points, densities = _empty(rows, samples, shared)
    arguments = (
        *(len(rows), addresses.data_ptr(), rows.data_ptr(), maps[0].shape[-1], maps[0].dtype == torch.float16),
        *(samples, seed % 2**64, MODES.index(mode), shared),
    )
    if rows.is_cuda:
        with torch.cuda.device(rows.device):
            stream = torch.cuda.current_stream().cuda_stream
            module.stratified_sample_cuda(*arguments, points.data_ptr(), densities.data_ptr(), stream)
    else:
        module.stratified_sample(*arguments, torch.get_num_threads(), points.data_ptr(), densities.data_ptr())
    return points, densities


def _stratified_sample_fake(
    maps: Sequence[Tensor], rows: Tensor, samples: int, seed: int, mode: Mode, shared: bool
) -> tuple[Tensor, Tensor]:
    return _empty(rows, samples, shared)


torch.library.register_fake("crystalnet::stratified_sample", _stratified_sample_fake)
