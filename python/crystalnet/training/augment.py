"""What training does to its inputs: the paper's noise and shift, and the diffractometer's view of a pattern."""

from __future__ import annotations

import torch
from torch import Tensor

from crystalnet.bragg import BIN, MO_KA, d_of_sine
from crystalnet.model.inputs import LEVELS

NOISE = 0.001  # sd on both inputs (paper, Optimization Loop)
PAPER_SHIFT = 0.6  # degrees, largest shift of a pattern (paper)
BIN_OFF = 0.05  # of the lines: a position good to 0.02° crosses a bin's edge that often, within what is read back
SOURCES = (1.5406, 1.5406, 1.5406, 0.7093, 0.45)  # Å: mostly copper tubes, some molybdenum, some synchrotrons


def uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Random numbers of a uniform distribution between low and high."""
    return low + (high - low) * torch.rand(*shape, generator=generator)


def paper_augmentation(pattern: Tensor, composition: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pattern and composition with the paper's noise and shift.

    Parameters
    ----------
    pattern : Tensor (B, 1024)
        Each is shifted as a whole, by at most PAPER_SHIFT.
    composition : Tensor (B, 119)
    generator : torch.Generator
        Draws shift and noise.

    Returns
    -------
    pattern, composition : Tensor
        With noise N(0, NOISE²), negative values cut.
    """
    steps = int(PAPER_SHIFT / BIN)
    shift = torch.randint(-steps, steps + 1, (len(pattern), 1), generator=generator)
    source = (torch.arange(pattern.shape[1]) - shift).clamp(0, pattern.shape[1] - 1)
    pattern = pattern.gather(1, source)
    pattern = (pattern + NOISE * torch.randn(pattern.shape, generator=generator)).relu()
    composition = (composition + NOISE * torch.randn(composition.shape, generator=generator)).relu()
    return pattern, composition


def measured_view(pattern: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Patterns as a diffractometer gives them.

    Such a pattern has a source and a 2θ range (from 5–20° to 60–140° at copper's wavelength, the same d at others). Its
    intensities are off by 3–20 % (counting, texture), now and then a line lies one bin off, lines below 0.3–3 % of the
    highest are missing, and the highest is 1.

    Parameters
    ----------
    pattern : Tensor (B, 1024)
        Calculated pattern vectors.
    share : float
        Of the patterns, that are seen so. The others stay as calculated, with a mask of ones.
    generator : torch.Generator
        Draws all of this.

    Returns
    -------
    pattern, mask : Tensor (B, 1024)
        The mask is 1 where the diffractometer measured.
    """
    n, bins = pattern.shape
    wavelength = torch.tensor(SOURCES)[torch.randint(len(SOURCES), (n, 1), generator=generator)]
    shortest = d_of_sine(torch.sin(torch.deg2rad(uniform((n, 1), 30, 70, generator))), torch.tensor(SOURCES[0]))
    shortest = shortest * torch.where(wavelength < 1, uniform((n, 1), 0.5, 1.0, generator), torch.ones(n, 1))
    longest = d_of_sine(torch.sin(torch.deg2rad(uniform((n, 1), 2.5, 10, generator))), torch.tensor(SOURCES[0]))
    centre = torch.deg2rad((torch.arange(bins) + 0.5) * BIN)
    d = d_of_sine(torch.sin(centre / 2), MO_KA)
    mask = ((d > shortest) & (d < longest)).float()

    spread = uniform((n, 1), 0.03, 0.2, generator)
    seen = pattern * mask * torch.exp(spread * torch.randn(pattern.shape, generator=generator))
    off = torch.rand(n, bins, generator=generator) < BIN_OFF
    beyond = torch.where(torch.rand(n, 1, generator=generator) < 0.5, (seen * off).roll(1, 1), (seen * off).roll(-1, 1))
    seen = torch.maximum(seen * ~off, beyond) * mask
    seen = seen / seen.amax(1, keepdim=True).clamp_min(1e-9)
    floor = torch.exp(uniform((n, 1), -5.8, -3.5, generator))
    seen = seen * (seen > floor)

    take = (torch.rand(n, 1, generator=generator) < share) & (seen.count_nonzero(1) >= 3)[:, None]
    return torch.where(take, seen, pattern), torch.where(take, mask, torch.ones_like(mask))


def given_composition(
    fractions: Tensor, levels: tuple[float, float, float, float], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Compositions as a user may give them: the formula, the elements, all of them but one, or nothing.

    Parameters
    ----------
    fractions : Tensor (B, 119)
        Atomic fractions.
    levels : tuple of float
        Probabilities of formula, elements, all elements but one, and nothing.
    generator : torch.Generator
        Draws the level of each crystal, and the element left out.

    Returns
    -------
    composition : Tensor (B, 119)
        Atomic fractions, equal ones where no formula is given, zeros where nothing is.
    level : Tensor (B,)
        Index into `LEVELS`; with one element left out it is that of the elements.
    """
    n = len(fractions)
    kind = torch.multinomial(torch.tensor(levels), n, replacement=True, generator=generator)
    present = (fractions > 0).float()
    lost = torch.multinomial(present, 1, generator=generator)
    droppable = (kind == 2)[:, None] & (present.sum(1, keepdim=True) > 1)
    kept = torch.where(droppable, present.scatter(1, lost, 0.0), present)
    elements = kept / kept.sum(1, keepdim=True)
    given = torch.where((kind == 0)[:, None], fractions, elements) * (kind != 3)[:, None]
    level = torch.tensor([LEVELS.index(name) for name in ("formula", "elements", "elements", "none")])[kind]
    return given, level
