"""How fast a run goes, and how much of the machine it uses."""

from __future__ import annotations

import math
import time

import torch

from crystalnet.density.promolecule import GRID
from crystalnet.model.network import build_network
from crystalnet.ops.decoder import decoder_flop
from crystalnet.training.run import Run

FORWARD_AND_BACKWARD = 3  # times the forward pass: as much again for the gradients of the inputs and of the weights
MATMUL_SECONDS = 0.2  # for measuring what the machine could do
MATMUL_ROWS = {"cpu": 5_000, "cuda": 65_536}  # the caches, or the GPU, full


class Speed:
    """How fast a run's steps go; its validations and checkpoints do not count.

    Utilisation (MFU) is the decoder's arithmetic, forward and backward once for every point learned from, over what
    torch's matrix product of a layer's shape makes of the same machine. Encoders and hypotheses come on top.
    """

    def __init__(self, run: Run) -> None:
        settings, model = run.settings, run.config.model
        points = settings.samples**3
        decoder = build_network(run.config).decoder()
        flop = decoder_flop(decoder, points, settings.batch, shared=model.architecture != "paper")
        rate = matmul_rate(torch.bfloat16 if settings.bf16 else torch.float32, model.width, run.device)
        self.flop_a_map, self.matmul = decoder_flop(decoder, GRID**3, 1), rate
        self.points_a_step, self.flop_a_step = settings.batch * points, FORWARD_AND_BACKWARD * flop
        self.flop_per_second = rate * run.team.size
        self.steps, self.seconds = 0, 0.0

    def add(self, seconds: float) -> None:
        """One more step."""
        self.steps, self.seconds = self.steps + 1, self.seconds + seconds

    @property
    def points_per_second(self) -> float:
        """Crystals × points of all processes."""
        return self.steps * self.points_a_step / self.seconds if self.steps else 0.0

    @property
    def utilisation(self) -> float:
        return self.steps * self.flop_a_step / self.seconds / self.flop_per_second if self.steps else 0.0

    def seconds_of_map(self) -> float:
        """What one process takes for a density map, by the steps so far."""
        return self.flop_a_map / (self.utilisation * self.matmul) if self.steps else 0.0


def matmul_rate(dtype: torch.dtype, width: int, device: str) -> float:
    """Operations per second of torch's product of points and a trunk layer: the best of MATMUL_SECONDS."""
    rows = MATMUL_ROWS[device.split(":")[0]]
    a, b = (torch.randn(n, width, device=device, dtype=dtype) for n in (rows, width))
    started, best = time.perf_counter(), math.inf
    while time.perf_counter() - started < MATMUL_SECONDS:
        began = time.perf_counter()
        torch.mm(a, b)
        if a.is_cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2.0 * rows * width**2 / best
