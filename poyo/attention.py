"""The arithmetic of attention over time: rotations, dropout, windows of differing lengths.

`model` says what is attended to; here it is computed. On a CPU, at POYO's few hundred latents,
memory traffic and random numbers cost as much as the products, so the gradient is written by hand.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn

HEAD = 64  # K, the head width of every POYO model
SCALE = HEAD**-0.5  # of the scores
T_MIN, T_MAX = 1e-4, 2.0627  # shortest and longest rotation period, seconds


# --- time -----------------------------------------------------------------------------------


class RotaryTime(nn.Module):
    """Times to rotations: half of each head's K dims turn, at periods from 0.1 ms to 2 s.

    The K/4 periods are log-spaced (paper, section 2.2; RoPE, Su et al. 2021).
    """

    def __init__(self):
        super().__init__()
        n = HEAD // 4
        period = torch.logspace(math.log10(T_MIN), math.log10(T_MAX), n, dtype=torch.float64)
        # One frequency per pair of dims, 0 for those that do not turn. It is saved with the
        # weights: at 0.1 ms a float32 rounding of omega is a visible phase, so a checkpoint
        # decodes exactly only with the omega it was trained with.
        omega = torch.cat([2 * math.pi / period, torch.zeros(n)])
        self.register_buffer("omega", omega.float())

    def forward(self, times: Tensor) -> Tensor:
        """times: (..., T) seconds. Returns (..., T, K/4) unit complex numbers."""
        with torch.no_grad(), torch.autocast(times.device.type, enabled=False):
            angle = times.float()[..., None] * self.omega[: HEAD // 4]
            return torch.view_as_complex(torch.stack([angle.cos(), angle.sin()], dim=-1))


def rotate_(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate x (..., T, K) in place by rotation (..., T, K/4); the conjugate undoes it.

    Pairs are dims (2i, 2i + 1) of the first K/2; the second half of the dims stays. One complex
    product, not slice, multiply, concatenate.
    """
    turning = x[..., : HEAD // 2].unflatten(-1, (-1, 2))
    if x.dtype.itemsize >= 4:
        torch.view_as_complex(turning).mul_(rotation)
    else:
        turning.copy_(torch.view_as_real(torch.view_as_complex(turning.float()) * rotation))
    return x


# --- dropout --------------------------------------------------------------------------------

_noise: ContextVar[torch.Generator | None] = ContextVar("noise", default=None)


@contextmanager
def seeded(seed: tuple[int, ...], device: torch.device) -> Iterator[None]:
    """Dropout in this thread draws from its own generator, alike for the same seed."""
    (word,) = np.random.SeedSequence(seed).generate_state(1, np.uint64)
    token = _noise.set(torch.Generator(device).manual_seed(int(word >> np.uint64(1))))
    try:
        yield
    finally:
        _noise.reset(token)


def kept(like: Tensor, p: float) -> tuple[Tensor, float]:
    """What dropout at rate p keeps: 1 or 0 in the shape of `like`, and the scale of the kept.

    One random byte per element, eight drawn at a time: the random numbers of a plain dropout
    cost a CPU a quarter of its training step.
    """
    # Paper: rate p. Here: the nearest multiple of 1/256, exactly scaled (0.2 becomes 0.199).
    dropped = round(256 * p)
    words = torch.empty(-(-like.numel() // 8), dtype=torch.int64, device=like.device)
    words.random_(-(2**63), None, generator=_noise.get())
    bytes_ = words.view(torch.uint8)[: like.numel()].view(like.shape)
    mask = torch.empty(like.shape, dtype=like.dtype, device=like.device)
    return torch.ge(bytes_, dropped, out=mask), 256 / (256 - dropped)


# --- attention ------------------------------------------------------------------------------


def attend(
    q: Tensor,
    kv: Tensor,
    q_rotation: Tensor,
    kv_rotation: Tensor,
    *,
    lengths: list[int] | None = None,
    dropout: float,
    rotate_values: bool = True,
) -> Tensor:
    """Attention of windows of T queries, each to its own N keys and values: -> (B, T, H*K).

    q: (B, T, H*K). kv: (B, N, 2*H*K), keys then values. With `lengths`, B ints, the windows have
    different N and lie one after the other in kv (1, n, 2*H*K), and the queries q (1, T, H*K) are
    the same for all. Queries and keys are rotated by q_rotation, (T, K/4) or (B, T, K/4), and
    kv_rotation; with `rotate_values` so are the values, and the result is rotated back (paper,
    section 2.2). q and kv may be overwritten: pass fresh projections.
    """
    if q.device.type == "cpu" and q.dtype.itemsize >= 4 and torch.is_grad_enabled():
        return _Attend.apply(q, kv, q_rotation, kv_rotation, lengths, dropout, rotate_values)
    q, kv = rotate_(_heads(q), q_rotation), _heads(kv)
    keys, values = kv[: len(q)], kv[len(q) :]
    rotate_(kv if rotate_values else keys, kv_rotation)
    if lengths and dropout == 0 and q.is_cuda and q.dtype.itemsize == 2:
        parts = [_packed(q, keys, values, lengths)]
    else:
        windows = zip(*(x.split(lengths or x.shape[2], dim=2) for x in (keys, values)))
        parts = [_fused(q, k, v, dropout) for k, v in windows]
    # a copy where there are gradients: the kernels keep their result for them
    out = _heads(torch.cat(parts) if len(parts) > 1 or torch.is_grad_enabled() else parts[0])
    return _merge(rotate_(out, q_rotation.conj_physical()) if rotate_values else out)


def _fused(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    """torch's own kernel, (H, B, T, K) and twice (H, B, N, K) -> (B, T, H*K)"""
    q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout).transpose(1, 2).flatten(-2)


def _packed(q: Tensor, k: Tensor, v: Tensor, lengths: list[int]) -> Tensor:
    """The same for windows in a row, (H, 1, T, K) and (H, 1, n, K), in one kernel of a GPU."""
    times, windows = q.shape[2], len(lengths)
    q, k, v = (x[:, 0].transpose(0, 1) for x in (q, k, v))  # (T or n, H, K)
    ends = torch.tensor([0, *lengths], dtype=torch.int32, device=q.device).cumsum(0).int()
    steps = torch.arange(windows + 1, dtype=torch.int32, device=q.device) * times
    out = varlen_attn(q.repeat(windows, 1, 1), k, v, steps, ends, times, max(lengths))
    return out.view(windows, times, -1)


def _heads(x: Tensor) -> Tensor:
    """(B, T, H*K) -> (H, B, T, K), a view"""
    return x.unflatten(-1, (-1, HEAD)).permute(2, 0, 1, 3)


def _merge(x: Tensor) -> Tensor:
    """(H, B, T, K) -> (B, T, H*K)"""
    return x.permute(1, 2, 0, 3).flatten(-2)


class _Attend(torch.autograd.Function):
    # The same for training on a CPU, its gradient by hand: at POYO's few hundred latents the plain
    # matrix products are faster than the blocked kernel's backward, and dropout costs less.
    @staticmethod
    def forward(ctx, q, kv, q_rotation, kv_rotation, lengths, p, rotate_values):
        # copies, with each head in one piece for the matrix products
        q, kv = (_heads(x).clone(memory_format=torch.contiguous_format) for x in (q, kv))
        heads = len(q)
        rotate_(q, q_rotation)
        rotate_(kv if rotate_values else kv[:heads], kv_rotation)
        out = q.new_empty(heads, len(lengths or q[0]), *q.shape[2:])  # (H, B, T, K)
        saved, ctx.scale = [], 1.0
        keys, values = _tokens(kv[:heads], lengths), _tokens(kv[heads:], lengths)
        for k, v, o in zip(keys, values, _results(out, lengths)):
            weights = used = _bmm(q.flatten(0, 1), k.mT, SCALE).softmax(-1)
            if p > 0:
                mask, ctx.scale = kept(weights, p)
                used = mask.mul_(weights)  # (H*B, T, N)
            _bmm(used, v, ctx.scale, o)
            saved += [weights, used]
        out = _merge(rotate_(out, q_rotation.conj_physical()) if rotate_values else out)
        ctx.save_for_backward(q, kv, q_rotation, kv_rotation, out, *saved)
        ctx.lengths, ctx.rotate_values = lengths, rotate_values
        return out

    @staticmethod
    def backward(ctx, grad):
        q, kv, q_rotation, kv_rotation, out, *saved = ctx.saved_tensors
        heads = len(q)
        # what the softmax's normalisation takes from every score of a query, (H, B, T, 1)
        taken = (grad * out).unflatten(-1, (-1, HEAD)).sum(-1).permute(2, 0, 1)[..., None]
        grad = _heads(grad).clone(memory_format=torch.contiguous_format)  # (H, B, T, K)
        if ctx.rotate_values:
            rotate_(grad, q_rotation)
        dq, dkv = torch.empty_like(q), torch.empty_like(kv)
        tokens = (kv[:heads], kv[heads:], dkv[:heads], dkv[heads:])
        tokens = [_tokens(x, ctx.lengths) for x in tokens]
        results = [_results(x, ctx.lengths) for x in (grad, taken.contiguous())]
        for i, (k, v, dk, dv, g, less) in enumerate(zip(*tokens, *results)):
            weights, used = saved[2 * i : 2 * i + 2]
            _bmm(used.mT, g, ctx.scale, dv)
            ds = _bmm(g, v.mT, ctx.scale).mul_(used).addcmul_(weights, less, value=-1)
            _bmm(ds.mT, q.flatten(0, 1), SCALE, dk)
            _bmm(ds, k, SCALE, dq.flatten(0, 1), add=i > 0)
        rotate_(dq, q_rotation.conj_physical())
        rotate_(dkv if ctx.rotate_values else dkv[:heads], kv_rotation.conj_physical())
        return _merge(dq), _merge(dkv), None, None, None, None, None


def _tokens(x: Tensor, lengths: list[int] | None) -> list[Tensor]:
    """Keys or values (H, B, N, K) as one batch (H*B, N, K), or each window's (H, N, K)."""
    parts = [x] if lengths is None else x.split(lengths, dim=2)
    return [part.view(-1, *part.shape[2:]) for part in parts]


def _results(x: Tensor, lengths: list[int] | None) -> list[Tensor]:
    """What belongs to queries, (H, B, T, K), in the same parts."""
    parts = [x] if lengths is None else x.split(1, dim=1)
    return [part.view(-1, *part.shape[2:]) for part in parts]


def _bmm(a: Tensor, b: Tensor, scale: float, out: Tensor | None = None, add: bool = False):
    """scale * a @ b, written into `out` or added to it."""
    into = a.new_empty(()) if out is None else out
    return torch.baddbmm(into, a, b, beta=int(add), alpha=scale, out=out)
