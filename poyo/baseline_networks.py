"""The networks of `baselines`: what reads binned spike counts.

All take counts (B, T, U) of T bins of 20 ms. A supervised one returns the velocity over its scale
in each bin, (B, T, 2); the others return features of each bin, (B, T, F), that a linear readout
turns into velocity, and bring a loss of their own. Each is built from `seen`, counts (N, T, U) of
the train split, for the units' means and standard deviations. Written anew from the papers; not
for: how they are trained (`baselines`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import Network
from .model import Dropout


class Standard(nn.Module):
    """Square-rooted counts, each unit over its standard deviation."""

    def __init__(self, seen: Tensor):
        super().__init__()
        self.register_buffer("mean", seen.sqrt().mean((0, 1)))
        self.register_buffer("spread", seen.sqrt().std((0, 1)) + 0.1)  # a silent unit stays 0

    def forward(self, counts: Tensor) -> Tensor:
        return (counts.sqrt() - self.mean) / self.spread


class MLP(nn.Module):
    """Two hidden layers on the flattened bins around a moment, `pad` on each side."""

    every = 5  # in training: neighbouring bins have nearly the same input

    def __init__(self, seen: Tensor, config: Network, pad: int):
        super().__init__()
        self.pad, width = pad, config.width
        self.inputs = nn.Sequential(Standard(seen), Dropout(config.dropout))
        self.net = nn.Sequential(
            nn.Linear((2 * pad + 1) * seen.shape[-1], width),
            *(nn.ReLU(), Dropout(config.dropout), nn.Linear(width, width)),
            *(nn.ReLU(), Dropout(config.dropout), nn.Linear(width, 2)),
        )

    def forward(self, counts: Tensor) -> Tensor:
        """(B, pad + T + pad, U) -> (B, T, 2), in training every fifth of the T"""
        x = self.inputs(counts)
        return self.net(
            x.unfold(1, 2 * self.pad + 1, self.every if self.training else 1).flatten(2)
        )


class GRU(nn.Module):
    """A bidirectional GRU over the bins (Cho et al. 2014)."""

    def __init__(self, seen: Tensor, config: Network):
        super().__init__()
        self.inputs = nn.Sequential(Standard(seen), Dropout(config.dropout))
        self.gru = nn.GRU(seen.shape[-1], config.width, batch_first=True, bidirectional=True)
        self.readout = nn.Sequential(Dropout(config.dropout), nn.Linear(2 * config.width, 2))

    def forward(self, counts: Tensor) -> Tensor:
        return self.readout(self.gru(self.inputs(counts))[0])


class Block(nn.Module):
    """A transformer layer, normalised before each branch: (N, T, D) -> (N, T, D)."""

    def __init__(self, dim: int, dropout: float, heads: int = 2):
        super().__init__()
        self.heads, self.dropout = heads, Dropout(dropout)
        self.attention_norm, self.to_qkv = nn.LayerNorm(dim), nn.Linear(dim, 3 * dim)
        self.to_out = nn.Linear(dim, dim)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.to_qkv(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1))
        out = F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4))  # (N, H, T, D / H)
        x = x + self.dropout(self.to_out(out.transpose(1, 2).flatten(-2)))
        return x + self.dropout(self.feed_forward(x))


class NDTSupervised(nn.Module):
    """The Neural Data Transformer's encoder over bins, trained to decode (NDT-Sup)."""

    def __init__(self, seen: Tensor, config: Network, outputs: int = 2):
        super().__init__()
        dim = config.width
        self.inputs = nn.Sequential(Standard(seen), Dropout(config.dropout))
        self.embed = nn.Linear(seen.shape[-1], dim)
        self.position = nn.Parameter(torch.randn(seen.shape[1], dim))
        self.blocks = nn.Sequential(*(Block(dim, config.dropout) for _ in range(2)))
        self.readout = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, outputs))

    def forward(self, counts: Tensor) -> Tensor:
        return self.readout(self.blocks(self.embed(self.inputs(counts)) + self.position))


class NDT(NDTSupervised):
    """The Neural Data Transformer (Ye & Pandarinath 2021): rates from masked bins, no behaviour.

    Its features are the logarithms of the rates, which a linear readout can use at once.
    """

    hidden = 0.25  # of the bins are to be guessed, each from the others

    def __init__(self, seen: Tensor, config: Network):
        super().__init__(seen, config, outputs=seen.shape[-1])
        _rest_at_mean(self.readout[-1], seen)

    def loss(self, counts: Tensor, generator: torch.Generator, _progress: float) -> Tensor:
        """Poisson likelihood of hidden bins, most zeroed, the others from another time."""
        draw = torch.rand(*counts.shape[:2], 1, generator=generator)
        elsewhere = counts.flatten(0, 1)[torch.randperm(draw.numel(), generator=generator)]
        shown = torch.where(draw < 0.2 * self.hidden, elsewhere.view_as(counts), 0.0)
        shown = torch.where(draw < self.hidden, shown, counts)
        error = F.poisson_nll_loss(self(shown), counts, reduction="none")
        return error[(draw < self.hidden).expand_as(error)].mean()


class EIT(nn.Module):
    """Embedded Interaction Transformer (Liu et al. 2022): along time, then across neurons.

    The first transformer reads each neuron alone, with weights that all neurons share; the second
    lets the neurons of a step interact. Steps are 100 ms, as its authors'.
    """

    bins = 5  # in a step, of 20 ms

    def __init__(self, seen: Tensor, config: Network):
        super().__init__()
        (bins, units), dim = seen.shape[1:], config.width
        self.steps = -(-bins // self.bins)
        self.inputs = nn.Sequential(Standard(self._wide(seen)), Dropout(config.dropout))
        self.embed = nn.Linear(1, dim)
        self.position = nn.Parameter(torch.randn(self.steps, dim))
        self.neuron = nn.Parameter(0.1 * torch.randn(units, 1, dim))
        self.individual = Block(dim, config.dropout)
        self.interaction = Block(dim, config.dropout)
        # the velocity changes within a step: one readout for each of its bins
        self.readout = nn.Sequential(
            nn.LayerNorm(dim), nn.Flatten(2), Dropout(config.dropout),
            nn.Linear(units * dim, self.bins * 2), nn.Unflatten(2, (self.bins, 2)),
        )  # fmt: skip

    def _wide(self, counts: Tensor) -> Tensor:
        """(B, T, U) in bins -> (B, S, U) in steps"""
        extra = -counts.shape[1] % self.bins
        return F.pad(counts, (0, 0, 0, extra)).unflatten(1, (-1, self.bins)).sum(2)

    def forward(self, counts: Tensor) -> Tensor:
        x = self.inputs(self._wide(counts)).mT[..., None]  # (B, U, S, 1)
        x = self.embed(x) + self.position + self.neuron
        x = self.individual(x.flatten(0, 1)).unflatten(0, (len(counts), -1))  # (B, U, S, D)
        x = x.transpose(1, 2)  # (B, S, U, D)
        x = self.interaction(x.flatten(0, 1)).unflatten(0, (len(counts), -1))
        return self.readout(x).flatten(1, 2)[:, : counts.shape[1]]


class LFADS(nn.Module):
    """LFADS (Pandarinath et al. 2018): a generator RNN whose factors explain the spikes.

    An encoder infers where the generator starts and what drives it in each bin, both uncertain.
    Shorter than the original: the inputs come from the encoder alone, no controller hears the
    factors of the bin before.
    """

    factors, drives = 24, 4

    def __init__(self, seen: Tensor, config: Network):
        super().__init__()
        (self.bins, units), dim = seen.shape[1:], config.width
        self.kl, self.dropped = config.kl, config.dropout
        self.standard = Standard(seen)
        self.encoder = nn.GRU(units, dim, batch_first=True, bidirectional=True)
        self.to_start = nn.Linear(2 * dim, 2 * dim)
        self.to_drive = nn.Linear(2 * dim, 2 * self.drives)
        self.generator = nn.GRU(self.drives, dim, batch_first=True)
        self.to_factors = nn.Linear(dim, self.factors)
        self.to_rates = nn.Linear(self.factors, units)
        _rest_at_mean(self.to_rates, seen)

    def infer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, U) -> mean and log-variance of the start (B, 2D) and of the drives (B, T, 8)"""
        states, last = self.encoder(x)
        return self.to_start(last.transpose(0, 1).flatten(1)), self.to_drive(states)

    def generate(self, start: Tensor, drive: Tensor) -> Tensor:
        return self.to_factors(self.generator(drive, start[None].contiguous())[0])

    def forward(self, counts: Tensor) -> Tensor:
        start, drive = self.infer(self.standard(counts))
        return self.generate(start.chunk(2, -1)[0], drive.chunk(2, -1)[0].contiguous())

    def loss(self, counts: Tensor, generator: torch.Generator, progress: float) -> Tensor:
        """Evidence bound per count; the weight of its divergence rises over half of the steps.

        Coordinated dropout (Keshtkaran & Pandarinath 2019): what was dropped is to be explained,
        so that no spike can be passed through.
        """
        drop = torch.rand(counts.shape, generator=generator) < self.dropped
        sampled, divergence = [], 0.0
        for both in self.infer(self.standard(counts) * ~drop / (1 - self.dropped)):
            mean, logvar = both.chunk(2, -1)
            noise = torch.randn(mean.shape, generator=generator)
            sampled.append(mean + noise * (logvar / 2).exp())
            divergence = divergence + (mean.square() + logvar.exp() - logvar - 1).sum() / 2
        rates = self.to_rates(self.generate(*sampled))
        error = F.poisson_nll_loss(rates, counts, reduction="none")[drop].mean()
        return error + self.kl * min(1.0, 2 * progress) * divergence / counts.numel()


def _rest_at_mean(layer: nn.Linear, seen: Tensor) -> None:
    """Let the log-rates of a layer start at the units' means."""
    nn.init.constant_(layer.bias, 0.0)
    layer.bias.data += (seen.mean((0, 1)) + 1e-3).log()


NETWORKS = {
    "mlp": MLP, "gru": GRU, "ndt": NDT, "ndt_supervised": NDTSupervised, "eit": EIT,
    "lfads": LFADS,
}  # fmt: skip
