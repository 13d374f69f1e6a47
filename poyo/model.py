"""POYO: a PerceiverIO whose every token, latent and query carries a time (paper, section 2).

    spikes (B, N) -> encoder cross-attention -> latents (B, L) -> self-attention x depth
                  -> decoder cross-attention <- queries (B, Q) -> velocity (B, Q, 2)

Written so that nothing is computed twice: a key before its rotation depends on (unit, token type)
alone, so that small table is projected once and gathered; the latents that open the encoder are
the same for every window; padding is dropped before attention. The numbers are those of the
plain formulation. Parameter names are those of torch_brain, whose checkpoints fit.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import HEAD, RotaryTime, attend, kept
from .config import SIZES, Size


class Attention(nn.Module):
    """What both attentions share: widths, dropout of attention weights."""

    rotate_values = True  # values turn with their time, too, but never in the decoder

    def __init__(self, *, dim: int, heads: int, dropout: float):
        super().__init__()
        self.dropout = dropout
        self.norm = nn.LayerNorm(dim)
        self.to_out = nn.Linear(heads * HEAD, dim)

    @property
    def p(self) -> float:
        return self.dropout if self.training else 0.0


class CrossAttention(Attention):
    """Queries read a context; the encoder and the decoder say what turns with time."""

    def __init__(self, *, dim: int, heads: int, dropout: float):
        super().__init__(dim=dim, heads=heads, dropout=dropout)
        self.norm_context = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, heads * HEAD, bias=False)
        self.to_kv = nn.Linear(dim, 2 * heads * HEAD, bias=False)

    def queries(self, x: Tensor) -> Tensor:
        return self.to_q(self.norm(x))  # (..., HK)

    def keys_values(self, context: Tensor) -> Tensor:
        return self.to_kv(self.norm_context(context))  # (..., 2HK)


class SelfAttention(Attention):
    """Latents attend to latents; queries, keys and values turn with their time (section 2.2)."""

    def __init__(self, *, dim: int, heads: int, dropout: float):
        super().__init__(dim=dim, heads=heads, dropout=dropout)
        self.to_qkv = nn.Linear(dim, 3 * heads * HEAD, bias=False)

    def forward(self, x: Tensor, rotation: Tensor) -> Tensor:
        """x: (B, L, D), rotation: (L, K/4) -> (B, L, D)"""
        width = self.to_out.in_features  # HK
        to_q, to_kv = self.to_qkv.weight.split([width, 2 * width])
        x = self.norm(x)
        q, kv = F.linear(x, to_q), F.linear(x, to_kv)  # (B, L, HK), (B, L, 2HK)
        out = attend(q, kv, rotation, rotation, dropout=self.p, rotate_values=self.rotate_values)
        return self.to_out(out)


class Dropout(nn.Dropout):
    """Dropout that costs one random byte per element, see `attention.kept`."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        mask, scale = kept(x, self.p)
        return x * mask.mul_(scale)


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
        latent_time = self.rotary_emb(latent_timestamps)  # (L, K/4)
        z = self.latent_emb(latent_index)  # (L, D), the same for every window
        tokens = self.tokens(input_unit_index[input_mask], input_token_type[input_mask])
        token_time = self.rotary_emb(input_timestamps[input_mask])  # (n, K/4)
        z = self.encode(z, latent_time, tokens, token_time, input_mask.sum(1).tolist())
        z = self.process(z, latent_time)  # (B, L, D)
        o = self.decode(z, latent_time, session_index, output_timestamps, output_mask)  # (m, 2)
        out = o.new_zeros(*output_mask.shape, o.shape[-1])
        return out.masked_scatter(output_mask[..., None], o)  # (B, Q, 2)

    def tokens(self, unit_index: Tensor, token_type: Tensor) -> Tensor:
        """Units and types of n tokens, (n,) -> their keys and values before rotation, (n, 2HK)."""
        pair = unit_index * 4 + token_type
        row = torch.zeros(4 * len(self.unit_emb.weight), dtype=torch.long, device=pair.device)
        row[pair] = 1
        pairs = row.nonzero()[:, 0]  # those that occur, and in `row` where each one is
        row[pairs] = torch.arange(len(pairs), device=pair.device)
        table = self.unit_emb(pairs // 4) + self.token_type_emb(pairs % 4)
        return F.embedding(row[pair], self.enc_atn.keys_values(table))

    def encode(self, z, latent_time, tokens, token_time, lengths: list[int]) -> Tensor:
        """Latents (L, D) gather B windows' tokens (n, 2HK), `lengths` of each: -> (B, L, D)."""
        q = self.enc_atn.queries(z)[None]  # (1, L, HK)
        out = attend(
            q,
            tokens[None],
            latent_time,
            token_time,
            lengths=lengths,
            dropout=self.enc_atn.p,
            rotate_values=self.enc_atn.rotate_values,
        )
        z = z + self.enc_atn.to_out(out)
        return z + self.enc_ffn(z)

    def process(self, z: Tensor, latent_time: Tensor) -> Tensor:
        """Latents (B, L, D) attend to each other, layer after layer: -> (B, L, D)."""
        for attention, feed_forward in self.proc_layers:
            z = z + self.dropout(attention(z, latent_time))
            z = z + self.dropout(feed_forward(z))
        return z

    def decode(self, z, latent_time, session_index, timestamps, mask) -> Tensor:
        """Queries, a session (B,) at times (B, Q), read the latents (B, L, D): -> (m, 2).

        m: the queries that `mask` (B, Q) keeps.
        """
        session = self.session_emb(session_index)[:, None]  # (B, 1, D)
        q = self.dec_atn.queries(session).repeat(1, timestamps.shape[1], 1)  # (B, Q, HK)
        out = attend(
            q,
            self.dec_atn.keys_values(z),
            self.rotary_emb(timestamps),
            latent_time,
            dropout=self.dec_atn.p,
            rotate_values=False,
        )
        o = (session + self.dec_atn.to_out(out))[mask]  # (m, D)
        return self.readout(o + self.dec_ffn(o))
