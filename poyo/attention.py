"""Rotary attention as the paper writes it (section 2.2); `kernels` computes the same, faster.
Queries, keys and values carry a time. With R(t) the rotation by time t, a query at time s gathers

    R(-s) sum_n softmax_n( R(s) q · R(t_n) k_n / sqrt(K) ) R(t_n) v_n

so that both where it looks and what it gathers depend on the differences t_n - s alone."""

import math

import torch
from torch import Tensor, nn

from .dropout import keep_mask

HEAD = 64  # K, the head width of every POYO model
SCALE = HEAD**-0.5  # of the scores
T_MIN, T_MAX = 1e-4, 2.0627  # shortest and longest rotation period, seconds


class RotaryTime(nn.Module):
    """Times to rotations: half of each head's K dims turn, at K/4 log-spaced periods from 0.1 ms
    to 2 s (paper, section 2.2; RoPE, Su et al. 2021)."""

    def __init__(self):
        super().__init__()
        n = HEAD // 4
        period = torch.logspace(math.log10(T_MIN), math.log10(T_MAX), n, dtype=torch.float64)
        # One frequency per pair of dims, 0 for those that do not turn; saved with the weights, as
        # at 0.1 ms another float32 rounding of omega than in training is a visible phase.
        omega = torch.cat([2 * math.pi / period, torch.zeros(n)])
        self.omega: Tensor
        self.register_buffer("omega", omega.float())

    def forward(self, times: Tensor) -> Tensor:
        """times: (..., T) seconds. Returns (..., T, K/4) unit complex numbers."""
        with torch.no_grad(), torch.autocast(times.device.type, enabled=False):
            angle = times.float()[..., None] * self.omega[: HEAD // 4]
            return torch.view_as_complex(torch.stack([angle.cos(), angle.sin()], dim=-1))


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """x (..., T, K) turned by rotation (..., T, K/4); the conjugate turns it back.
    Pairs are dims (2i, 2i + 1) of the first K/2; the second half of the dims stays. Scores of
    turned queries and keys depend on the difference of their times alone:

    >>> turn, x = RotaryTime(), torch.randn(2, HEAD, generator=torch.Generator().manual_seed(0))
    >>> early, late = (rotate(x, turn(torch.tensor([t, t + 0.125]))) for t in (0.25, 0.75))
    >>> torch.allclose(early[0] @ early[1], late[0] @ late[1], atol=0.1)
    True
    """
    a, b = x[..., : HEAD // 2 : 2], x[..., 1 : HEAD // 2 : 2]  # (..., T, K/4)
    cos, sin = rotation.real, rotation.imag
    turned = torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)
    return torch.cat([turned, x[..., HEAD // 2 :]], dim=-1)


def attend(q, kv, q_rotation, kv_rotation, *, lengths=None, dropout=0.0, rotate_values=True):
    """Attention of B windows of T queries, each to its own N keys and values: -> (B, T, H*K).
    Tensors q: (B, T, H*K) and kv: (B, N, 2*H*K), keys then values. With `lengths`, a list of B
    ints, the windows have different N and lie one after the other in kv (1, n, 2*H*K), and the
    queries q (1, T, H*K) are the same for all. Queries and keys are rotated by q_rotation and
    kv_rotation, complex tensors, (T, K/4) or (B, T, K/4); with `rotate_values`, a bool, so are the
    values, and the result is rotated back. dropout: rate on the attention weights."""
    q, kv = split_heads(q), split_heads(kv)  # (H, B or 1, T, K), (2H, B or 1, N or n, K)
    keys, values = kv.chunk(2)
    q, keys = rotate(q, q_rotation), rotate(keys, kv_rotation)
    if rotate_values:
        values = rotate(values, kv_rotation)
    gathered = []
    for k, v in zip(*(x.split(lengths or x.shape[2], dim=2) for x in (keys, values))):
        weights = (q @ k.mT * SCALE).softmax(-1)  # (H, B or 1, T, N)
        if dropout > 0:
            keep, scale = keep_mask(weights, dropout)
            weights = weights * keep * scale
        gathered.append(weights @ v)
    out = torch.cat(gathered, dim=1)  # (H, B, T, K)
    return merge_heads(rotate(out, q_rotation.conj()) if rotate_values else out)


def split_heads(x: Tensor) -> Tensor:
    """(B, T, H*K) -> (H, B, T, K), a view"""
    return x.unflatten(-1, (-1, HEAD)).permute(2, 0, 1, 3)


def merge_heads(x: Tensor) -> Tensor:
    """(H, B, T, K) -> (B, T, H*K)"""
    return x.permute(1, 2, 0, 3).flatten(-2)
