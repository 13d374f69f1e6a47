"""Optimisers and schedules: the paper's LAMB, and AdamW for short runs."""

import math

import torch
from torch import nn

from .config import Training

EMBEDDINGS = ("unit_emb", "session_emb")


class Lamb(torch.optim.Optimizer):
    """LAMB as the reference code trains POYO (You et al. 2020; torch_brain's SparseLamb).

    No bias correction; the decay joins the Adam step; each tensor's step is scaled by
    ||w|| (at most 10) / ||step||. In groups with sparse=True only rows with a gradient move, and
    the moments of the other rows are forgotten: a unit absent from the batch does not drift.
    """

    def __init__(self, params, lr: float, betas=(0.9, 0.999), eps=1e-6, weight_decay=1e-4):
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults | {"sparse": False})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, group)

    def _update(self, p: torch.Tensor, group: dict) -> None:
        state, (beta1, beta2) = self.state[p], group["betas"]
        if not state:
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        m, v = state["exp_avg"], state["exp_avg_sq"]
        m.lerp_(p.grad, 1 - beta1)
        v.mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
        if group["sparse"]:
            seen = (p.grad != 0).any(1, keepdim=True)  # (rows, 1)
            m.mul_(seen)
            v.mul_(seen)
        update = m / (v.sqrt() + group["eps"])
        if group["weight_decay"]:
            update = update + group["weight_decay"] * p
        weight, step = p.norm().clamp(0, 10), update.norm()  # over all rows, as the reference
        if group["sparse"]:
            update = update * seen
        ratio = torch.where((weight > 0) & (step > 0), weight / step, torch.ones_like(step))
        p.sub_(group["lr"] * ratio * update)


def make(model: nn.Module, training: Training) -> torch.optim.Optimizer:
    """The optimiser of a run over all parameters, embeddings of units and sessions in a group."""
    named = list(model.named_parameters())
    tables = [p for name, p in named if name.split(".")[0] in EMBEDDINGS]
    rest = [p for name, p in named if name.split(".")[0] not in EMBEDDINGS]
    if training.optimizer == "lamb":
        groups = [{"params": tables, "sparse": True}, {"params": rest}]
        return Lamb(groups, lr=training.lr, weight_decay=training.weight_decay)
    if training.optimizer == "adamw":
        # a decay would shrink the rows of units that are rarely seen
        groups = [{"params": tables, "weight_decay": 0.0}, {"params": rest}]
        return torch.optim.AdamW(
            groups, lr=training.lr, betas=(0.9, 0.99), weight_decay=training.weight_decay
        )
    raise ValueError(f"optimizer: {training.optimizer!r} is unknown; known: adamw, lamb")


def schedule(training: Training, step: int) -> tuple[float, float | None]:
    """Factor of the learning rates and, for lamb, β1 at a step.

    Rises linearly over `warmup`, holds until `hold`, falls by a cosine to 1 / 10,000. The
    reference's OneCycleLR also cycles β1 0.95 -> 0.85 -> 0.95, its halves split at `hold`.
    """
    last = max(1, training.steps - 1)
    rise, hold = training.warmup * training.steps, training.hold * training.steps - 1
    falling = min(1.0, max(0.0, (step - hold) / max(1e-9, last - hold)))
    cosine = (1 + math.cos(math.pi * falling)) / 2
    factor = min(1.0, (step + 1) / max(1.0, rise)) * (1e-4 + (1 - 1e-4) * cosine)
    if training.optimizer != "lamb":
        return factor, None
    phase = falling if step > hold else min(1.0, 1 - step / max(1.0, hold))
    return factor, 0.85 + 0.10 * (1 - math.cos(math.pi * phase)) / 2


def set_step(optimizer: torch.optim.Optimizer, training: Training, step: int) -> None:
    """Give the parameter groups of `make` their learning rates (and β1) for a step."""
    factor, beta1 = schedule(training, step)
    for group, lr in zip(optimizer.param_groups, (training.embedding_lr, training.lr)):
        group["lr"] = lr * factor
        if beta1 is not None:
            group["betas"] = (beta1, group["betas"][1])
