"""The networks of `baselines` on binned counts, from the papers, to the contract of `Baseline`."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..dropout import Dropout
from .profile import Baselines, Configuration, LFADSConfiguration


class Baseline(nn.Module):
    """Built from `seen`, counts (N, T, U) of the train split, for a target of `outputs` dims D.
    forward: counts (B, pad + T + pad, U) -> (B, T, F), what it says of each bin: F = D
    dimensions of the normalised target if `supervised`, else features for a linear readout. bin:
    s, its width. pad: bins that it reads beyond a window, on each side. every: in training it
    answers for each so many-th bin alone. supervised: whether its loss sees behaviour."""

    pad, every, supervised = 0, 1, True

    def __init__(self, seen: Tensor, config: Configuration, params: Baselines, outputs: int):
        super().__init__()
        self.bin, self.dropout = params.bin, Dropout(config.dropout)
        self.mean, self.spread = seen.sqrt().mean((0, 1)), seen.sqrt().std((0, 1))
        self.resting = (seen.mean((0, 1)) + 1e-3).log()  # (U,), from which log-rates start

    def standard(self, counts: Tensor) -> Tensor:
        """Square-rooted counts, each unit over its standard deviation in `seen`."""
        return (counts.sqrt() - self.mean) / (self.spread + 0.1)  # a silent unit stays 0

    def loss(self, counts, target, weight, generator, progress) -> Tensor:
        """POYO's loss of target (B, T / every, D) under weight (B, T / every). Others, where not
        supervised, get None for both, and a generator and the progress, 0 to 1."""
        error = (self(counts) - target).square().mean(-1)
        return (error * weight).sum() / weight.sum().clamp_min(1e-8)


class MLP(Baseline):  # two hidden layers on the flattened bins around a moment, `pad` on each side
    every = 5  # neighbouring bins have nearly the same input

    def __init__(self, seen: Tensor, config: Configuration, params: Baselines, outputs: int):
        super().__init__(seen, config, params, outputs)
        self.pad, width = round(params.reach / params.bin), config.width
        layers: list[nn.Module] = [nn.Linear((2 * self.pad + 1) * seen.shape[-1], width)]
        for size in (width, outputs):
            layers += nn.ReLU(), Dropout(config.dropout), nn.Linear(width, size)
        self.net = nn.Sequential(*layers)

    def forward(self, counts: Tensor) -> Tensor:
        x = self.dropout(self.standard(counts))
        step = self.every if self.training else 1
        return self.net(x.unfold(1, 2 * self.pad + 1, step).flatten(2))


class GRU(Baseline):  # a bidirectional GRU over the bins (Cho et al. 2014)
    def __init__(self, seen: Tensor, config: Configuration, params: Baselines, outputs: int):
        super().__init__(seen, config, params, outputs)
        self.gru = nn.GRU(seen.shape[-1], config.width, batch_first=True, bidirectional=True)
        self.readout = nn.Sequential(Dropout(config.dropout), nn.Linear(2 * config.width, outputs))

    def forward(self, counts: Tensor) -> Tensor:
        return self.readout(self.gru(self.dropout(self.standard(counts)))[0])


class Block(nn.Module):  # a transformer layer, norms before the branches: (N, T, D) -> (N, T, D)
    def __init__(self, dim: int, dropout: float, heads: int = 2):
        super().__init__()
        self.heads, self.dropout = heads, Dropout(dropout)
        self.attention_norm, self.to_qkv = nn.LayerNorm(dim), nn.Linear(dim, 3 * dim)
        self.to_out = nn.Linear(dim, dim)
        layers = nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim)
        self.feed_forward = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.to_qkv(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1))
        out = F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4))  # (N, H, T, D / H)
        x = x + self.dropout(self.to_out(out.transpose(1, 2).flatten(-2)))
        return x + self.dropout(self.feed_forward(x))


class NDTSupervised(Baseline):  # the encoder of the Neural Data Transformer, trained to decode
    def __init__(self, seen: Tensor, config: Configuration, params: Baselines, outputs: int):
        super().__init__(seen, config, params, outputs)
        dim = config.width
        self.embed = nn.Linear(seen.shape[-1], dim)
        self.position = nn.Parameter(torch.randn(seen.shape[1], dim))
        self.blocks = nn.Sequential(*(Block(dim, config.dropout) for _ in range(2)))
        self.readout = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, outputs))

    def forward(self, counts: Tensor) -> Tensor:
        x = self.embed(self.dropout(self.standard(counts)))
        return self.readout(self.blocks(x + self.position))


class NDT(NDTSupervised):  # trained to tell log-rates of masked bins (Ye & Pandarinath 2021)
    supervised = False
    hidden = 0.25  # of the bins are to be guessed, each from the others

    def __init__(self, seen: Tensor, config: Configuration, params: Baselines, outputs: int):
        super().__init__(seen, config, params, outputs=seen.shape[-1])
        [*self.readout.parameters()][-1].data.copy_(self.resting)  # its bias

    def loss(self, counts, target, weight, generator, progress) -> Tensor:
        """Poisson likelihood of hidden bins, most zeroed, the others from another time."""
        draw = torch.rand(*counts.shape[:2], 1, generator=generator)
        elsewhere = counts.flatten(0, 1)[torch.randperm(draw.numel(), generator=generator)]
        shown = torch.where(draw < 0.2 * self.hidden, elsewhere.view_as(counts), 0.0)
        shown = torch.where(draw < self.hidden, shown, counts)
        error = F.poisson_nll_loss(self(shown), counts, reduction="none")
        return error[(draw < self.hidden).expand_as(error)].mean()


def wide(counts: Tensor, bins: int) -> Tensor:
    """Counts (B, T, U) in bins -> (B, S, U) in steps of `bins` bins, the last filled up with 0."""
    return F.pad(counts, (0, 0, 0, -counts.shape[1] % bins)).unflatten(1, (-1, bins)).sum(2)


class EIT(Baseline):
    """Embedded Interaction Transformer (Liu et al. 2022): along time, then across neurons.
    The first transformer reads each neuron alone, with shared weights; in the second the neurons
    of a step interact. A step is some `bins`, together params.eit_step wide."""

    def __init__(self, seen: Tensor, config: Configuration, params: Baselines, outputs: int):
        bins, dim = round(params.eit_step / params.bin), config.width
        seen = wide(seen, bins)
        super().__init__(seen, config, params, outputs)
        self.bins, (steps, units) = bins, seen.shape[1:]
        self.embed = nn.Linear(1, dim)
        self.position = nn.Parameter(torch.randn(steps, dim))
        self.neuron = nn.Parameter(0.1 * torch.randn(units, 1, dim))
        self.individual, self.interaction = (Block(dim, config.dropout) for _ in range(2))
        # the target changes within a step: one readout for each of its bins
        each = nn.Linear(units * dim, self.bins * outputs), nn.Unflatten(2, (self.bins, outputs))
        before = nn.LayerNorm(dim), nn.Flatten(2), Dropout(config.dropout)
        self.readout = nn.Sequential(*before, *each)

    def forward(self, counts: Tensor) -> Tensor:
        x = self.dropout(self.standard(wide(counts, self.bins))).mT[..., None]  # (B, U, S, 1)
        x = self.embed(x) + self.position + self.neuron
        x = self.individual(x.flatten(0, 1)).unflatten(0, (len(counts), -1)).transpose(1, 2)
        x = self.interaction(x.flatten(0, 1)).unflatten(0, (len(counts), -1))  # (B, S, U, D)
        return self.readout(x).flatten(1, 2)[:, : counts.shape[1]]


class LFADS(Baseline):
    """LFADS (Pandarinath et al. 2018): a generator RNN whose factors explain the spikes.
    An encoder infers where the generator starts and what drives it in each bin, both uncertain.
    Simpler than the original: no controller hears the factors of the bin before."""

    supervised, factors, drives = False, 24, 4

    def __init__(self, seen: Tensor, config: LFADSConfiguration, params: Baselines, outputs: int):
        super().__init__(seen, config, params, outputs)
        units, dim = seen.shape[-1], config.width
        self.kl, self.dropped = config.kl, config.dropout
        self.encoder = nn.GRU(units, dim, batch_first=True, bidirectional=True)
        self.to_start, self.to_drive = (nn.Linear(2 * dim, 2 * n) for n in (dim, self.drives))
        self.generator = nn.GRU(self.drives, dim, batch_first=True)
        self.to_factors = nn.Linear(dim, self.factors)
        self.to_rates = nn.Linear(self.factors, units)
        self.to_rates.bias.data.copy_(self.resting)

    def infer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, U) -> mean and log-variance of the start (B, 2D) and of the drives (B, T, 8)"""
        states, last = self.encoder(x)
        return self.to_start(last.transpose(0, 1).flatten(1)), self.to_drive(states)

    def generate(self, start: Tensor, drive: Tensor) -> Tensor:
        return self.to_factors(self.generator(drive, start[None].contiguous())[0])

    def forward(self, counts: Tensor) -> Tensor:
        start, drive = self.infer(self.standard(counts))
        return self.generate(start.chunk(2, -1)[0], drive.chunk(2, -1)[0].contiguous())

    def loss(self, counts, target, weight, generator, progress) -> Tensor:
        """Evidence bound per count; the weight of its divergence rises over half of the steps."""
        # Coordinated dropout (Keshtkaran & Pandarinath 2019): what was dropped is to be explained,
        # so that no spike can be passed through.
        drop = torch.rand(counts.shape, generator=generator) < self.dropped
        sampled, divergence = [], torch.zeros(())
        for both in self.infer(self.standard(counts) * ~drop / (1 - self.dropped)):
            mean, logvar = both.chunk(2, -1)
            noise = torch.randn(mean.shape, generator=generator)
            sampled.append(mean + noise * (logvar / 2).exp())
            divergence = divergence + (mean.square() + logvar.exp() - logvar - 1).sum() / 2
        rates = self.to_rates(self.generate(*sampled))
        error = F.poisson_nll_loss(rates, counts, reduction="none")[drop].mean()
        return error + self.kl * min(1.0, 2 * progress) * divergence / counts.numel()


NETWORKS = dict(mlp=MLP, gru=GRU, ndt=NDT, ndt_supervised=NDTSupervised, eit=EIT, lfads=LFADS)
