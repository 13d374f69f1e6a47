"""The attention of `attention.attend`, computed in the way that is fastest where it runs.
`attend_` chooses: torch's fused kernels to decode, one packed kernel for windows of differing
lengths on a GPU in bfloat16 where no attention weight is dropped, and in training on a CPU matrix
products with a gradient by hand: at a few hundred latents memory traffic and random numbers cost
as much as the products. Functions whose names end in `_` may overwrite the tensors they are given,
no other does."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .attention import HEAD, SCALE, merge_heads, split_heads
from .dropout import keep_mask


def rotate_(x: Tensor, rotation: Tensor) -> Tensor:
    """`attention.rotate` in place: one complex product, not slice, multiply, concatenate."""
    turning = x[..., : HEAD // 2].unflatten(-1, (-1, 2))
    if x.dtype.itemsize >= 4:
        torch.view_as_complex(turning).mul_(rotation)
    else:
        turning.copy_(torch.view_as_real(torch.view_as_complex(turning.float()) * rotation))
    return x


def attend_(q, kv, q_rotation, kv_rotation, *, lengths=None, dropout=0.0, rotate_values=True):
    """The numbers of `attention.attend`, with its arguments; q and kv may be overwritten."""
    if q.device.type == "cpu" and q.dtype.itemsize >= 4 and torch.is_grad_enabled():
        return _Attend.apply(q, kv, q_rotation, kv_rotation, lengths, dropout, rotate_values)
    q, kv = rotate_(split_heads(q), q_rotation), split_heads(kv)
    keys, values = kv[: len(q)], kv[len(q) :]  # autograd forbids writing into what chunk gives
    rotate_(kv if rotate_values else keys, kv_rotation)
    if lengths and dropout == 0 and q.is_cuda and q.dtype.itemsize == 2:
        parts = [_packed(q, keys, values, lengths)]
    else:
        windows = zip(*(x.split(lengths or x.shape[2], dim=2) for x in (keys, values)))
        parts = [_fused(q, k, v, dropout) for k, v in windows]
    # a copy where there are gradients: the kernels keep their result for them
    out = split_heads(torch.cat(parts) if len(parts) > 1 or torch.is_grad_enabled() else parts[0])
    return merge_heads(rotate_(out, q_rotation.conj_physical()) if rotate_values else out)


def _fused(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    """torch's own kernel, (H, B, T, K) and twice (H, B, N, K) -> (B, T, H*K)"""
    q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout).transpose(1, 2).flatten(-2)


def _packed(q: Tensor, k: Tensor, v: Tensor, lengths: list[int]) -> Tensor:
    """The same for windows in a row, (H, 1, T, K) and (H, 1, n, K), in one kernel of a GPU."""
    from torch.nn.attention.varlen import varlen_attn  # slow: a compiler comes along

    times, windows = q.shape[2], len(lengths)
    q, k, v = (x[:, 0].transpose(0, 1) for x in (q, k, v))  # (T or n, H, K)
    ends = torch.tensor([0, *lengths], dtype=torch.int32, device=q.device).cumsum(0).int()
    steps = torch.arange(windows + 1, dtype=torch.int32, device=q.device) * times
    out = varlen_attn(q.repeat(windows, 1, 1), k, v, steps, ends, times, max(lengths))
    return out.view(windows, times, -1)  # type: ignore[union-attr] # only out is asked for


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, kv, q_rotation, kv_rotation, lengths, p, rotate_values):
        # copies, with each head in one piece for the matrix products
        q, kv = (split_heads(x).clone(memory_format=torch.contiguous_format) for x in (q, kv))
        heads = len(q)
        rotate_(q, q_rotation)
        rotate_(kv if rotate_values else kv[:heads], kv_rotation)
        out = q.new_empty(heads, len(lengths or q[0]), *q.shape[2:])  # (H, B, T, K)
        saved, ctx.scale = [], 1.0
        keys, values = (_parts(x, lengths, 2) for x in (kv[:heads], kv[heads:]))
        for k, v, o in zip(keys, values, _parts(out, lengths and 1, 1)):
            weights = used = _bmm(q.flatten(0, 1), k.mT, SCALE).softmax(-1)
            if p > 0:
                mask, ctx.scale = keep_mask(weights, p)
                used = mask.mul_(weights)  # (H*B, T, N)
            _bmm(used, v, ctx.scale, o)
            saved += [weights, used]
        out = merge_heads(rotate_(out, q_rotation.conj_physical()) if rotate_values else out)
        ctx.save_for_backward(q, kv, q_rotation, kv_rotation, out, *saved)
        ctx.lengths, ctx.rotate_values = lengths, rotate_values
        return out

    @staticmethod
    def backward(ctx, grad):
        q, kv, q_rotation, kv_rotation, out, *saved = ctx.saved_tensors
        heads = len(q)
        # what the softmax's normalisation takes from every score of a query, (H, B, T, 1)
        taken = (grad * out).unflatten(-1, (-1, HEAD)).sum(-1).permute(2, 0, 1)[..., None]
        grad = split_heads(grad).clone(memory_format=torch.contiguous_format)  # (H, B, T, K)
        if ctx.rotate_values:
            rotate_(grad, q_rotation)
        dq, dkv = torch.empty_like(q), torch.empty_like(kv)
        tokens = (kv[:heads], kv[heads:], dkv[:heads], dkv[heads:])
        tokens = [_parts(x, ctx.lengths, 2) for x in tokens]
        results = [_parts(x, ctx.lengths and 1, 1) for x in (grad, taken.contiguous())]
        for i, (k, v, dk, dv, g, less) in enumerate(zip(*tokens, *results)):
            weights, used = saved[2 * i : 2 * i + 2]
            _bmm(used.mT, g, ctx.scale, dv)
            ds = _bmm(g, v.mT, ctx.scale).mul_(used).addcmul_(weights, less, value=-1)
            _bmm(ds.mT, q.flatten(0, 1), SCALE, dk)
            _bmm(ds, k, SCALE, dq.flatten(0, 1), add=i > 0)
        rotate_(dq, q_rotation.conj_physical())
        rotate_(dkv if ctx.rotate_values else dkv[:heads], kv_rotation.conj_physical())
        return merge_heads(dq), merge_heads(dkv), None, None, None, None, None


def _parts(x: Tensor, sizes: list[int] | int | None, dim: int) -> list[Tensor]:
    """All windows (H, B, N, K) as one batch (H*B, N, K), or cut into each one's (H, N, K): keys
    and values, in a row, along dim 2 at their lengths, what belongs to queries along dim 1."""
    parts = [x] if sizes is None else x.split(sizes, dim)
    return [part.view(-1, *part.shape[2:]) for part in parts]


def _bmm(a: Tensor, b: Tensor, scale: float, out: Tensor | None = None, add: bool = False):
    """scale * a @ b, written into `out` or added to it."""
    into = a.new_empty(()) if out is None else out
    return torch.baddbmm(into, a, b, beta=int(add), alpha=scale, out=out)
