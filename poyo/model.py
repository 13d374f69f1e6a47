"""POYO: a PerceiverIO whose every token, latent and query carries a time (paper, section 2).

    spikes (B, N) -> encoder cross-attention -> latents (B, L) -> self-attention x depth
                  -> decoder cross-attention <- queries (B, Q) -> velocity (B, Q, 2)

Written so that nothing is computed twice: a key before its rotation depends on (unit, token type)
alone, so that small table is projected once and gathered; the latents that open the encoder are
the same for every window; padding is dropped before attention. The numbers are those of the
plain formulation. Parameter names are those of torch_brain, whose checkpoints fit.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import SIZES, Size

HEAD = 64  # K, the head width of every POYO model
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
        """times: (...,) seconds. Returns (..., 1, K/4) unit complex numbers; 1 is for heads."""
        with torch.no_grad(), torch.autocast(times.device.type, enabled=False):
            angle = times.float()[..., None, None] * self.omega[: HEAD // 4]
            return torch.polar(torch.ones_like(angle), angle)


class _Rotate(torch.autograd.Function):
    # One complex product instead of slice, multiply, concatenate; its gradient is the product
    # with the conjugate, so only the rotation itself is kept for backward.
    @staticmethod
    def forward(ctx, x, rotation):
        ctx.save_for_backward(rotation)
        return _Rotate._turn(x, rotation)

    @staticmethod
    def backward(ctx, grad):
        return _Rotate._turn(grad, ctx.saved_tensors[0].conj()), None

    @staticmethod
    def _turn(x, rotation):
        if x.stride(-1) != 1:
            x = x.contiguous()
        half = x.shape[-1] // 2
        out = torch.empty(x.shape, dtype=torch.float32, device=x.device)
        out[..., half:] = x[..., half:]
        torch.mul(_pairs(x[..., :half].float()), rotation, out=_pairs(out[..., :half]))
        return out.to(x.dtype)


def _pairs(x: Tensor) -> Tensor:
    """(..., 2n) -> (..., n) complex, the same memory."""
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)))


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate x (..., H, K) by rotation (..., 1, K/4); the conjugate rotation undoes it.

    Pairs are dims (2i, 2i + 1) of the first K/2; the second half of the dims passes unchanged.
    """
    return _Rotate.apply(x, rotation)


# --- blocks ---------------------------------------------------------------------------------


def attend(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    """Scaled dot-product attention on (B, T, H, K) tensors; returns (B, T, H, K)."""
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, H, T, K)
    return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout).transpose(1, 2)


class Attention(nn.Module):
    """What both attentions share: widths, head splitting, dropout of attention weights."""

    def __init__(self, *, dim: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm = nn.LayerNorm(dim)
        self.to_out = nn.Linear(heads * HEAD, dim)

    def split(self, x: Tensor, parts: int) -> Tensor:
        """(..., parts*H*K) -> (..., parts*H, K)"""
        return x.unflatten(-1, (parts * self.heads, HEAD))

    @property
    def p(self) -> float:
        return self.dropout if self.training else 0.0


class CrossAttention(Attention):
    """Queries and context with times; the context's keys are rotated, its values if asked."""

    def __init__(self, *, dim: int, heads: int, dropout: float):
        super().__init__(dim=dim, heads=heads, dropout=dropout)
        self.norm_context = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, heads * HEAD, bias=False)
        self.to_kv = nn.Linear(dim, 2 * heads * HEAD, bias=False)

    def queries(self, x: Tensor) -> Tensor:
        return self.split(self.to_q(self.norm(x)), 1)  # (..., H, K)

    def keys_values(self, context: Tensor) -> Tensor:
        return self.split(self.to_kv(self.norm_context(context)), 2)  # (..., 2H, K)


class SelfAttention(Attention):
    """Latents attend to latents; queries, keys and values turn with their time (section 2.2)."""

    def __init__(self, *, dim: int, heads: int, dropout: float):
        super().__init__(dim=dim, heads=heads, dropout=dropout)
        self.to_qkv = nn.Linear(dim, 3 * heads * HEAD, bias=False)

    def forward(self, x: Tensor, rotation: Tensor) -> Tensor:
        """x: (B, L, D), rotation: (L, 1, K/4) -> (B, L, D)"""
        qkv = rotate(self.split(self.to_qkv(self.norm(x)), 3), rotation)  # (B, L, 3H, K)
        out = attend(*qkv.chunk(3, dim=-2), self.p)  # (B, L, H, K)
        return self.to_out(rotate(out, rotation.conj()).flatten(-2))


class Dropout(nn.Dropout):
    """Dropout from one random byte per element, eight drawn at a time.

    On a CPU the random numbers are a fifth of a training step.
    """

    # Paper: rate p. Here: the nearest multiple of 1/256, exactly scaled (0.2 becomes 0.199).

    def forward(self, x: Tensor) -> Tensor:
        dropped = round(256 * self.p)
        if not self.training or dropped == 0:
            return x
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device)
        noise = words.random_(-(2**63), None).view(torch.uint8)[: x.numel()].view(x.shape)
        return x * (noise >= dropped).to(x.dtype).mul_(256 / (256 - dropped))


class GEGLU(nn.Module):
    """x, gate -> x * gelu(gate) (Shazeer 2020)."""

    def forward(self, x: Tensor) -> Tensor:
        x, gate = x.chunk(2, dim=-1)
        return x * F.gelu(gate)


class FeedForward(nn.Module):
    """Linear to 8D, GEGLU, dropout, linear back to D."""

    def __init__(self, *, dim: int, dropout: float):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(dim, 8 * dim), GEGLU(), Dropout(dropout), nn.Linear(4 * dim, dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


# --- the model ------------------------------------------------------------------------------


class POYO(nn.Module):
    """The paper's model (section 2; Figure 1).

    size: a name of `config.SIZES` or a `Size`. units, sessions: rows of the two embedding tables,
    row 0 (no unit, no session) included. Dropout rates: feed-forward, residual branches of the
    processor, attention weights; the defaults are the paper's.
    """

    def __init__(
        self,
        *,
        size: str | Size,
        units: int,
        sessions: int,
        outputs: int = 2,
        ffn_dropout: float = 0.2,
        lin_dropout: float = 0.4,
        atn_dropout: float = 0.2,
    ):
        super().__init__()
        size = SIZES[size] if isinstance(size, str) else size
        dim = size.dim

        def block(kind, heads):
            return (
                kind(dim=dim, heads=heads, dropout=atn_dropout),
                nn.Sequential(nn.LayerNorm(dim), FeedForward(dim=dim, dropout=ffn_dropout)),
            )

        self.unit_emb = nn.Embedding(units, dim)
        self.session_emb = nn.Embedding(sessions, dim)
        self.token_type_emb = nn.Embedding(4, dim)
        self.latent_emb = nn.Embedding(size.latents_per_step, dim)
        self.rotary_emb = RotaryTime()
        self.dropout = Dropout(lin_dropout)
        self.enc_atn, self.enc_ffn = block(CrossAttention, size.cross_heads)
        self.proc_layers = nn.ModuleList(
            nn.Sequential(*block(SelfAttention, size.self_heads)) for _ in range(size.depth)
        )
        self.dec_atn, self.dec_ffn = block(CrossAttention, size.cross_heads)
        self.readout = nn.Linear(dim, outputs)
        for table in (self.unit_emb, self.session_emb, self.token_type_emb, self.latent_emb):
            nn.init.normal_(table.weight, std=0.02)

    def forward(
        self,
        *,
        input_unit_index: Tensor,
        input_timestamps: Tensor,
        input_token_type: Tensor,
        input_mask: Tensor,
        latent_index: Tensor,
        latent_timestamps: Tensor,
        session_index: Tensor,
        output_timestamps: Tensor,
        output_mask: Tensor,
        **_,
    ) -> Tensor:
        """Decode a batch of windows; other keys of the batch (targets, masks) are ignored.

        input_unit_index, input_token_type: (B, N) int; input_timestamps: (B, N) seconds from the
        window's start; input_mask: (B, N) bool, False is padding. latent_index,
        latent_timestamps: (L,). session_index: (B,). output_timestamps: (B, Q) seconds, and
        output_mask: (B, Q) bool. Returns (B, Q, 2), the decoded behaviour over its scale, 0 where
        masked.
        """
        latent_time = self.rotary_emb(latent_timestamps)  # (L, 1, K/4)
        z = self.latent_emb(latent_index)  # (L, D), the same for every window
        z = z + self.encode(
            z, latent_time, input_unit_index, input_timestamps, input_token_type, input_mask
        )  # (B, L, D)
        z = z + self.enc_ffn(z)
        for attention, feed_forward in self.proc_layers:
            z = z + self.dropout(attention(z, latent_time))
            z = z + self.dropout(feed_forward(z))
        o = self.decode(z, latent_time, session_index, output_timestamps)[output_mask]  # (m, D)
        o = self.readout(o + self.dec_ffn(o))  # (m, 2), the m real queries of the batch
        out = o.new_zeros(*output_mask.shape, o.shape[-1])
        return out.masked_scatter(output_mask[..., None], o)  # (B, Q, 2)

    def encode(self, z, latent_time, unit_index, timestamps, token_type, mask) -> Tensor:
        """Latents z (L, D) gather the input tokens of each window: -> (B, L, D)."""
        unit, kind = unit_index[mask], token_type[mask]  # (n,), the n real tokens of the batch
        pairs, token = torch.unique(unit * 4 + kind, return_inverse=True)  # (n,) row of its pair
        table = self.unit_emb(pairs // 4) + self.token_type_emb(pairs % 4)
        kv = F.embedding(token, self.enc_atn.keys_values(table).flatten(-2))  # (n, 2HK)
        kv = rotate(self.enc_atn.split(kv, 2), self.rotary_emb(timestamps[mask]))  # (n, 2H, K)
        q = rotate(self.enc_atn.queries(z), latent_time)[None]  # (1, L, H, K)
        windows = kv[None].split(mask.sum(1).tolist(), dim=1)  # B of (1, tokens, 2H, K)
        out = torch.cat([attend(q, *one.chunk(2, dim=-2), self.enc_atn.p) for one in windows])
        return self.enc_atn.to_out(rotate(out, latent_time.conj()).flatten(-2))  # (B, L, D)

    def decode(self, z, latent_time, session_index, timestamps) -> Tensor:
        """Queries (session embedding at a time) read the latents (B, L, D): -> (B, Q, D)."""
        session = self.session_emb(session_index)[:, None]  # (B, 1, D)
        q = self.dec_atn.queries(session).expand(-1, timestamps.shape[1], -1, -1)
        q = rotate(q, self.rotary_emb(timestamps))  # (B, Q, H, K)
        k, v = self.dec_atn.keys_values(z).chunk(2, dim=-2)  # (B, L, H, K)
        out = attend(q, rotate(k, latent_time), v, self.dec_atn.p)
        return session + self.dec_atn.to_out(out.flatten(-2))  # (B, Q, D)
