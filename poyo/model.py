"""POYO: a PerceiverIO whose every token, latent and query carries a time (paper, section 2).

    spikes (B, N) -> encoder cross-attention -> latents (B, L) -> self-attention x depth
                  -> decoder cross-attention <- queries (B, Q) -> behaviour (B, Q, outputs)

Nothing is computed twice: a key before its rotation depends on (unit, token type) alone, so that
small table is projected once and gathered; the latents that open the encoder are the same for
every window; padding is dropped before attention. The numbers are those of the plain formulation.
Parameter names are those of torch_brain, whose checkpoints fit."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import HEAD, RotaryTime
from .config import Windows
from .dropout import Dropout
from .kernels import attend_


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a network is; SIZES has those in use."""

    dim: int  # width D
    depth: int  # layers of the processor
    cross_heads: int
    self_heads: int
    latents_per_step: int


SIZES = {  # the one dial of the model: its size by name
    # the paper's single-session model, and the one of POYO-mp and POYO-1 (depth 24)
    "1.3M": Size(dim=64, depth=6, cross_heads=2, self_heads=8, latents_per_step=16),
    "11.8M": Size(dim=128, depth=24, cross_heads=4, self_heads=8, latents_per_step=32),
    # the paper's scaling figure: its names count 1.25 M of unit embeddings, too (13M is 11.8M)
    "3.8M": Size(dim=128, depth=4, cross_heads=4, self_heads=8, latents_per_step=32),
    "7.4M": Size(dim=128, depth=12, cross_heads=4, self_heads=8, latents_per_step=32),
    # ours, for two CPU cores
    "tiny": Size(dim=16, depth=1, cross_heads=2, self_heads=2, latents_per_step=4),
    "small": Size(dim=32, depth=2, cross_heads=2, self_heads=2, latents_per_step=4),
    "laptop": Size(dim=64, depth=2, cross_heads=2, self_heads=2, latents_per_step=4),
    "laptop-4": Size(dim=64, depth=4, cross_heads=2, self_heads=2, latents_per_step=4),
    "smoke": Size(dim=32, depth=1, cross_heads=1, self_heads=2, latents_per_step=4),
}


class Network(nn.Module):
    """What `Decoder` and `train.fit` ask of a model: derive from this to bring one of your own.
    A model reads a batch of `tokens.tokenize` in `forward(**batch)` and returns (B, Q, outputs),
    the decoded behaviour over its scale, at output_timestamps (B, Q). All it knows about which
    neurons and sessions were recorded are the rows of `unit_emb` and `session_emb`, so that new
    ones can be added; row 0 belongs to none. It is built with these keywords and no other; numbers
    of its own are attributes of the class. The output layer is called `readout`; weights of other
    nn.Linear are `groups`' matrices, which Muon trains, the rest is trained by AdamW. Dropout is
    that of `poyo.dropout`, which follows the seed. `forward` changes no buffer."""

    def __init__(self, *, size: Size, units: int, sessions: int, outputs: int, windows: Windows):
        super().__init__()
        self.size, self.outputs = size, outputs
        self.unit_emb = nn.Embedding(units, size.dim)
        self.session_emb = nn.Embedding(sessions, size.dim)
        for table in (self.unit_emb, self.session_emb):
            nn.init.normal_(table.weight, std=0.02)

    def groups(self) -> dict[str, list]:
        """The parameters as optimisers tell them apart: the "embeddings" of units and sessions,
        "matrices" between hidden layers, and the "rest" (biases, norms, other tables, readout)."""
        embeddings = [self.unit_emb.weight, self.session_emb.weight]
        linear = {name: m for name, m in self.named_modules() if isinstance(m, nn.Linear)}
        matrices = [module.weight for name, module in linear.items() if name != "readout"]
        apart = {id(p) for p in embeddings + matrices}
        rest = [p for p in self.parameters() if id(p) not in apart]
        return {"embeddings": embeddings, "matrices": matrices, "rest": rest}

    def set_dropout(self, feed_forward: float, residual: float, attention: float) -> None:
        """Give every dropout its rate; a network without branches or attention has but one."""
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = feed_forward


class Attention(nn.Module):
    """What all attention layers share: the norm of what asks, and the way out, (HK) -> (D)."""

    rotate_values = True  # values turn with their time, too, but never in the decoder
    dropout = 0.0  # of attention weights

    def __init__(self, *, dim: int, heads: int):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.to_out = nn.Linear(heads * HEAD, dim)

    @property
    def p(self) -> float:
        return self.dropout if self.training else 0.0


class CrossAttention(Attention):
    """Queries read a context; the encoder and the decoder say what turns with time."""

    def __init__(self, *, dim: int, heads: int):
        super().__init__(dim=dim, heads=heads)
        self.norm_context = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, heads * HEAD, bias=False)
        self.to_kv = nn.Linear(dim, 2 * heads * HEAD, bias=False)

    def queries(self, x: Tensor) -> Tensor:
        return self.to_q(self.norm(x))  # (..., HK)

    def keys_values(self, context: Tensor) -> Tensor:
        return self.to_kv(self.norm_context(context))  # (..., 2HK)


class SelfAttention(Attention):
    """Latents attend to latents; queries, keys and values turn with their time (section 2.2)."""

    def __init__(self, *, dim: int, heads: int):
        super().__init__(dim=dim, heads=heads)
        self.to_qkv = nn.Linear(dim, 3 * heads * HEAD, bias=False)

    def forward(self, x: Tensor, rotation: Tensor) -> Tensor:
        """x: (B, L, D), rotation: (L, K/4) -> (B, L, D)"""
        width = self.to_out.in_features  # HK
        to_q, to_kv = self.to_qkv.weight.split([width, 2 * width])
        x = self.norm(x)
        q, kv = F.linear(x, to_q), F.linear(x, to_kv)  # (B, L, HK), (B, L, 2HK)
        out = attend_(q, kv, rotation, rotation, dropout=self.p, rotate_values=self.rotate_values)
        return self.to_out(out)


class GEGLU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x, gate = x.chunk(2, dim=-1)  # (Shazeer 2020)
        return x * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        wide, back = nn.Linear(dim, 8 * dim), nn.Linear(4 * dim, dim)
        self.net = nn.Sequential(wide, GEGLU(), Dropout(0.0), back)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class POYO(Network):
    """The paper's model (section 2; Figure 1).
    size: a `Size`, SIZES has them by name. units, sessions: rows of the two embedding tables, row
    0 (no unit, no session) included. outputs: dims of the behaviour. windows: their length and the
    step of the latent grid, whose latents_per_step embeddings stand at the middle of every step:
    latent_index and latent_timestamps (L,), with L = latents_per_step * length /
    latent_step (section 2.2)."""

    def __init__(self, *, size, units, sessions, outputs=2, windows=Windows()):  # noqa: B008
        counts = {"units": units, "sessions": sessions, "outputs": outputs}
        super().__init__(size=size, windows=windows, **counts)
        dim = size.dim

        def block(kind, heads):
            feed_forward = nn.Sequential(nn.LayerNorm(dim), FeedForward(dim))
            return kind(dim=dim, heads=heads), feed_forward

        self.token_type_emb = nn.Embedding(4, dim)
        self.latent_emb = nn.Embedding(size.latents_per_step, dim)
        self.rotary_emb = RotaryTime()
        self.dropout = Dropout(0.0)
        self.enc_atn, self.enc_ffn = block(CrossAttention, size.cross_heads)
        layers = [nn.Sequential(*block(SelfAttention, size.self_heads)) for _ in range(size.depth)]
        self.proc_layers = nn.ModuleList(layers)
        self.dec_atn, self.dec_ffn = block(CrossAttention, size.cross_heads)
        self.readout = nn.Linear(dim, outputs)
        for table in (self.token_type_emb, self.latent_emb):
            nn.init.normal_(table.weight, std=0.02)
        steps = torch.arange(round(windows.length / windows.latent_step))
        times = ((steps + 0.5) * windows.latent_step).float()
        per_step = size.latents_per_step
        # not saved: the windows say what they are
        self.register_buffer("latent_index", torch.arange(per_step).repeat(len(steps)), False)
        self.register_buffer("latent_timestamps", times.repeat_interleave(per_step), False)

    def set_dropout(self, feed_forward: float, residual: float, attention: float) -> None:
        super().set_dropout(feed_forward, residual, attention)
        self.dropout.p = residual
        for module in self.modules():
            if isinstance(module, Attention):
                module.dropout = attention

    def forward(
        self, *, input_unit_index, input_timestamps, input_token_type, input_mask,
        session_index, output_timestamps, output_mask, **_,
    ) -> Tensor:  # fmt: skip
        """Decode a batch of windows; other keys of the batch (targets, weights) are ignored.
        input_unit_index, input_token_type: (B, N) int; input_timestamps: (B, N) seconds from the
        window's start; input_mask: (B, N) bool, False is padding. session_index: (B,).
        output_timestamps: (B, Q) seconds, and output_mask: (B, Q) bool. Returns (B, Q, outputs),
        the decoded behaviour over its scale, 0 where masked."""
        latent_time = self.rotary_emb(self.latent_timestamps)  # (L, K/4)
        z = self.latent_emb(self.latent_index)  # (L, D), the same for every window
        unit, kind = input_unit_index[input_mask], input_token_type[input_mask]  # (n,)
        tokens = self.token_keys_values(unit, kind)
        token_time = self.rotary_emb(input_timestamps[input_mask])  # (n, K/4)
        z = self.encode(z, latent_time, tokens, token_time, input_mask.sum(1).tolist())
        z = self.process(z, latent_time)  # (B, L, D)
        o = self.decode(z, latent_time, session_index, output_timestamps, output_mask)
        out = o.new_zeros(*output_mask.shape, o.shape[-1])
        return out.masked_scatter(output_mask[..., None], o)  # (B, Q, outputs)

    def token_keys_values(self, unit_index: Tensor, token_type: Tensor) -> Tensor:
        """Units and types of n tokens, (n,) -> their keys and values before rotation, (n, 2HK)."""
        pair = unit_index * 4 + token_type
        row = torch.zeros(4 * len(self.unit_emb.weight), dtype=torch.long, device=pair.device)
        row[pair] = 1
        pairs = row.nonzero()[:, 0]  # those that occur, and in `row` where each one is
        row[pairs] = torch.arange(len(pairs), device=pair.device)
        table = self.unit_emb(pairs // 4) + self.token_type_emb(pairs % 4)
        return F.embedding(row[pair], self.enc_atn.keys_values(table))

    def encode(self, z, latent_time, tokens, token_time, lengths: list[int]) -> Tensor:
        """Latents (L, D) gather B windows' keys and values (n, 2HK), `lengths` of each, whose
        times are token_time (n, K/4): -> (B, L, D). `tokens` may be overwritten."""
        q = self.enc_atn.queries(z)[None]  # (1, L, HK)
        how = {"dropout": self.enc_atn.p, "rotate_values": self.enc_atn.rotate_values}
        out = attend_(q, tokens[None], latent_time, token_time, lengths=lengths, **how)
        z = z + self.enc_atn.to_out(out)
        return z + self.enc_ffn(z)

    def process(self, z: Tensor, latent_time: Tensor) -> Tensor:
        """Latents (B, L, D) attend to each other, layer after layer: -> (B, L, D)."""
        for attention, feed_forward in self.proc_layers:
            z = z + self.dropout(attention(z, latent_time))
            z = z + self.dropout(feed_forward(z))
        return z

    def decode(self, z, latent_time, session_index, timestamps, mask) -> Tensor:
        """Queries, a session (B,) at times (B, Q), read the latents (B, L, D): -> (m, outputs),
        for the m queries that `mask` (B, Q) keeps."""
        session = self.session_emb(session_index)[:, None]  # (B, 1, D)
        q = self.dec_atn.queries(session).repeat(1, timestamps.shape[1], 1)  # (B, Q, HK)
        kv, time = self.dec_atn.keys_values(z), self.rotary_emb(timestamps)
        out = attend_(q, kv, time, latent_time, dropout=self.dec_atn.p, rotate_values=False)
        o = (session + self.dec_atn.to_out(out))[mask]  # (m, D)
        return self.readout(o + self.dec_ffn(o))
