"""Optimisers and schedules: the paper's LAMB; Muon and AdamW for short runs."""

import math
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from .config import EmbeddingRecipe, Recipe

ADAMW: dict[str, Any] = {"betas": (0.9, 0.99), "fused": True}  # one loop in C, not ten of Python


class _PerTensor(Optimizer):  # a step is an `_update` of each tensor alone
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, **group)


class Lamb(_PerTensor):
    """LAMB as the reference code trains POYO (You et al. 2020; torch_brain's SparseLamb).
    No bias correction; the decay joins the Adam step; each tensor's step is scaled by
    ||w|| (at most 10) / ||step||. In groups with sparse=True only rows with a gradient move, and
    the moments of the other rows are forgotten: a unit absent from the batch does not drift."""

    def __init__(self, params, lr: float, betas=(0.9, 0.999), eps=1e-6, weight_decay=1e-4):
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults | {"sparse": False})

    def _update(self, p, *, lr, betas, eps, weight_decay, sparse, **_) -> None:
        state, (beta1, beta2) = self.state[p], betas
        if not state:
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        m, v = state["exp_avg"], state["exp_avg_sq"]
        m.lerp_(p.grad, 1 - beta1)
        v.mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
        if sparse:
            seen = (p.grad != 0).any(1, keepdim=True)  # (rows, 1)
            m.mul_(seen)
            v.mul_(seen)
        update = m / (v.sqrt() + eps)
        if weight_decay:
            update = update + weight_decay * p
        weight, step = p.norm().clamp(0, 10), update.norm()  # over all rows, as the reference
        if sparse:
            update = update * seen
        ratio = torch.where((weight > 0) & (step > 0), weight / step, torch.ones_like(step))
        p.sub_(lr * ratio * update)


class Muon(Optimizer):
    """Muon for matrices (Jordan et al. 2024): every step is an orthogonal matrix. The momentum is
    replaced by the nearest matrix with equal singular values, by five Newton-Schulz iterations,
    scaled so that its elements are as large as Adam's steps (Liu et al. 2025): learning rates
    carry over. As torch.optim.Muon, but in float32, for CPUs that have no fast bfloat16, and for
    all matrices of a shape at once."""

    def __init__(self, params, lr: float, weight_decay: float = 0.0, momentum: float = 0.95):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            alike: dict[int, list] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    alike[min(p.shape)].append(p)
            for some in alike.values():
                self._update(some, **group)

    def _update(self, some: list, *, lr, weight_decay, momentum, **rest) -> None:
        ahead = []
        for p in some:
            state = self.state[p]
            if not state:
                state["momentum"] = torch.zeros_like(p)
            average = state["momentum"].lerp_(p.grad, 1 - momentum)
            ahead.append(_wide(torch.lerp(p.grad, average, momentum)))  # Nesterov's look ahead
        # An iteration is x <- f x, where f is a polynomial of the Gram matrix of x, with which it
        # commutes: so that matrix is iterated in its place, as small as the short side of x, and
        # x itself is read twice, not ten times.
        gram = torch.stack([x @ x.mT for x in ahead])
        squares = gram.diagonal(dim1=1, dim2=2).sum(1)[:, None, None].clamp_min(1e-14)
        gram = gram / squares  # of x over its norm
        whole = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device) * squares.rsqrt()
        for _ in range(5):
            f = torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
            f.diagonal(dim1=1, dim2=2).add_(3.4445)
            whole, gram = f @ whole, f @ gram @ f
        for p, x, f in zip(some, ahead, whole):
            p.mul_(1 - lr * weight_decay)
            _wide(p).addmm_(f, x, alpha=-lr * 0.2 * max(p.shape) ** 0.5)


def _wide(x: Tensor) -> Tensor:
    """A matrix, or its transpose where that has fewer rows: a view."""
    return x.mT if x.shape[0] > x.shape[1] else x


def make(groups: dict[str, list], recipe: EmbeddingRecipe) -> list[Optimizer]:
    """The optimisers of a run over `Network.groups`; the first group of the first one is the
    embeddings, the only one that learns by an EmbeddingRecipe."""
    embeddings: dict[str, Any] = {"params": groups["embeddings"]}
    if not isinstance(recipe, Recipe):
        lamb = recipe.optimizer == "lamb"
        # Paper: weight decay 1e-4 here, too. Here: none while the network is frozen.
        kind = Lamb if lamb else torch.optim.AdamW
        more = {"sparse": True} if lamb else ADAMW
        return [kind([embeddings | more], lr=recipe.embedding_lr, weight_decay=0.0)]
    matrices, rest = {"params": groups["matrices"]}, {"params": groups["rest"]}
    options: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "lamb":
        return [Lamb([embeddings | {"sparse": True}, matrices, rest], **options)]
    embeddings["weight_decay"] = 0.0  # a decay would shrink the rows of units rarely seen
    if recipe.optimizer == "adamw":
        return [torch.optim.AdamW([embeddings, matrices, rest], **ADAMW, **options)]
    adamw = torch.optim.AdamW([embeddings, rest], **ADAMW, **options)
    return [adamw, *([Muon(groups["matrices"], **options)] if groups["matrices"] else [])]


def schedule(recipe: EmbeddingRecipe, step: int) -> tuple[float, float | None]:
    """Factor of the learning rates and, for lamb, β1 at a step.
    Rises linearly over `warmup`, holds until `hold`, falls by a cosine to 1 / 10,000. The
    reference's OneCycleLR also cycles β1 0.95 -> 0.85 -> 0.95, its halves split at `hold`."""
    last = max(1, recipe.steps - 1)
    rise, hold = recipe.warmup * recipe.steps, recipe.hold * recipe.steps - 1
    falling = min(1.0, max(0.0, (step - hold) / max(1e-9, last - hold)))
    cosine = (1 + math.cos(math.pi * falling)) / 2
    factor = min(1.0, (step + 1) / max(1.0, rise)) * (1e-4 + (1 - 1e-4) * cosine)
    if recipe.optimizer != "lamb":
        return factor, None
    phase = falling if step > hold else min(1.0, 1 - step / max(1.0, hold))
    return factor, 0.85 + 0.10 * (1 - math.cos(math.pi * phase)) / 2


def set_step(optimizers: list[Optimizer], recipe: EmbeddingRecipe, step: int) -> None:
    """Give the parameter groups of `make` their learning rates (and β1) for a step."""
    factor, beta1 = schedule(recipe, step)
    lr = recipe.lr if isinstance(recipe, Recipe) else 0.0  # then there is no second group
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    for i, group in enumerate(groups):
        group["lr"] = (lr if i else recipe.embedding_lr) * factor
        if beta1 is not None:
            group["betas"] = (beta1, group["betas"][1])
