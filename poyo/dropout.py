"""Dropout that is the same for the same seed in every thread, and costs one random byte."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import torch
from torch import Tensor, nn

_noise: ContextVar[torch.Generator | None] = ContextVar("noise", default=None)


@contextmanager
def seeded(seed: tuple[int, ...], device: torch.device) -> Iterator[None]:
    """Dropout in this thread draws from its own generator, alike for the same seed. A GPU's own
    kernel of attention draws from torch's, which is then seeded, too."""
    (word,) = np.random.SeedSequence(seed).generate_state(1, np.uint64)
    token = _noise.set(torch.Generator(device).manual_seed(int(word >> np.uint64(1))))
    if device.type == "cuda":
        with torch.cuda.device(device):  # a new thread's is the first one
            torch.cuda.manual_seed(int(word >> np.uint64(1)))
    try:
        yield
    finally:
        _noise.reset(token)


def keep_mask(like: Tensor, p: float) -> tuple[Tensor, float]:
    """What dropout at rate p keeps: 1 or 0 in the shape of `like`, and the scale of the kept.
    One random byte per element: a plain dropout's numbers cost a CPU a quarter of a step."""
    # Paper: rate p. Here: the nearest multiple of 1/256, exactly scaled (0.2 becomes 0.199).
    dropped = round(256 * p)
    words = torch.empty(-(-like.numel() // 8), dtype=torch.int64, device=like.device)
    words.random_(-(2**63), None, generator=_noise.get())
    bytes_ = words.view(torch.uint8)[: like.numel()].view(like.shape)
    mask = torch.empty(like.shape, dtype=like.dtype, device=like.device)
    return torch.ge(bytes_, dropped, out=mask), 256 / (256 - dropped)


class Dropout(nn.Dropout):  # by `keep_mask`
    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        mask, scale = keep_mask(x, self.p)
        return x * mask.mul_(scale)
