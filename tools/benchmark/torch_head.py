"""The head of facedep_jax/head/model.py in PyTorch, for single frames, trained as a careful user of PyTorch would.

Features are tensors in memory, batches are rows of them in a random order, no loader. It knows no cache and no JAX:
parameters come in by name, so that both heads can be made equal and compared.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Recipe:
    """Sizes and settings, in numbers: `cells` and `channels` by tap, in the order of the head's taps."""

    cells: tuple[int, ...]
    channels: tuple[int, ...]
    backbone: tuple[int, ...]  # which one each tap is of
    width: int
    heads: int
    depth: int
    expansion: int
    classes: int
    dropout: float
    learning_rate: float
    weight_decay: float
    clip_norm: float
    warmup: float
    batch_size: int
    epochs: int


class Block(nn.Module):
    def __init__(self, recipe: Recipe):
        super().__init__()
        width = recipe.width
        self.heads, self.rate = recipe.heads, recipe.dropout
        self.attention_norm = nn.LayerNorm(width, 1e-6)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width, 1e-6)
        self.up = nn.Linear(width, recipe.expansion * width)
        self.down = nn.Linear(recipe.expansion * width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, n, width = x.shape
        # (b, n, 3, heads, d) → three of (b, heads, n, d)
        query, key, value = self.query_key_value(self.attention_norm(x)).view(b, n, 3, self.heads, -1).unbind(2)
        mixed = F.scaled_dot_product_attention(*(part.transpose(1, 2) for part in (query, key, value)))
        x = x + F.dropout(self.out(mixed.transpose(1, 2).reshape(b, n, width)), self.rate, self.training)
        hidden = F.gelu(self.up(self.mlp_norm(x)), approximate="tanh")
        return x + F.dropout(self.down(hidden), self.rate, self.training)


class TorchHead(nn.Module):
    """Logits of frames from their tokens, one tensor (n, S*S, C) a tap."""

    def __init__(self, recipe: Recipe):
        super().__init__()
        width, tokens = recipe.width, sum(side * side for side in recipe.cells)
        self.recipe = recipe
        self.sides = sorted(set(recipe.cells))
        self.project = nn.ModuleList(nn.Linear(channels, width) for channels in recipe.channels)
        self.tap_embedding = nn.Parameter(torch.zeros(len(recipe.cells), width))
        self.backbone_embedding = nn.Parameter(torch.zeros(max(recipe.backbone) + 1, width))
        self.cell_embedding = nn.ParameterList(torch.zeros(side * side, width) for side in self.sides)
        self.blocks = nn.ModuleList(Block(recipe) for _ in range(recipe.depth))
        self.pool = nn.ModuleDict(
            {
                "norm": nn.LayerNorm(width, 1e-6),
                "score": nn.Linear(width, recipe.heads),
                "value": nn.Linear(width, width),
            }
        )
        self.read_out = nn.Linear(tokens * width, width)
        self.norm = nn.LayerNorm(width, 1e-6)
        self.classify = nn.Linear(width, recipe.classes)

    def forward(self, tokens: list[Tensor]) -> Tensor:
        rate, training = self.recipe.dropout, self.training
        x = F.dropout(torch.cat([self.embed(i, part) for i, part in enumerate(tokens)], 1), rate, training)
        placed = self.read_out(x.flatten(1))
        for block in self.blocks:
            x = block(x)
        return self.classify(F.dropout(self.norm(self.pooled(x) + placed), rate, training))

    def embed(self, i: int, part: Tensor) -> Tensor:
        side, backbone = self.recipe.cells[i], self.recipe.backbone[i]
        x = F.layer_norm(part.float(), part.shape[-1:], eps=1e-6)
        place = self.cell_embedding[self.sides.index(side)] + self.tap_embedding[i] + self.backbone_embedding[backbone]
        return self.project[i](x) + place

    def pooled(self, x: Tensor) -> Tensor:
        b, n, width = x.shape
        x = self.pool["norm"](x)
        weights = self.pool["score"](x).softmax(1)  # (b, n, heads)
        value = self.pool["value"](x).view(b, n, self.recipe.heads, -1)
        return torch.einsum("bnh,bnhd->bhd", weights, value).reshape(b, width)

    def take(self, parameters: Mapping[str, Float[np.ndarray, "..."]]) -> "TorchHead":
        """Parameters by dotted name; kernels are (inputs, outputs), as in head.safetensors."""
        with torch.no_grad():
            for name, own in self.named_parameters():
                owner, _, last = name.rpartition(".")
                linear = isinstance(self.get_submodule(owner), nn.Linear) if owner else False
                if last == "weight":
                    value = torch.tensor(parameters[f"{owner}.{'kernel' if linear else 'scale'}"])
                    own.copy_(value.T if linear else value)
                else:
                    own.copy_(torch.tensor(parameters[name]))
        return self


def part_of_rate(step: int, total: int, warmup: float) -> float:
    """Linear warm-up, then a cosine down to 0, as `facedep_jax.training.epoch` has it."""
    warm = max(1, round(warmup * total))
    fall = 0.5 * (1 + math.cos(math.pi * min(max((step - warm) / max(total - warm, 1), 0.0), 1.0)))
    return min((step + 1) / warm, 1.0) * fall


class TorchTraining:
    """Epochs of training and looks at validation, one after the other. `precision` is how features lie in memory."""

    def __init__(
        self,
        head: TorchHead,
        tokens: list[Float[np.ndarray, "n cells c"]],
        target: Int[np.ndarray, " n"],
        train: Int[np.ndarray, " a"],
        weight: Float32[np.ndarray, " a"],
        val: Int[np.ndarray, " b"],
        precision: str,
        compiled: bool,
        device: str,
    ):
        kind = {"float16": torch.float16, "float32": torch.float32}[precision]
        self.head, self.recipe, self.device = head.to(device), head.recipe, device
        self.forward: Callable[[list[Tensor]], Tensor] = torch.compile(self.head) if compiled else self.head
        self.tokens = [torch.tensor(x, dtype=kind, device=device) for x in tokens]
        self.target = torch.tensor(target, dtype=torch.long, device=device)
        self.train, self.val = (torch.tensor(rows, device=device) for rows in (train, val))
        self.weight = torch.tensor(weight, device=device)
        kernels = {id(module.weight) for module in head.modules() if isinstance(module, nn.Linear)}
        groups = [
            {"params": [p for p in head.parameters() if (id(p) in kernels) == decayed], "weight_decay": decay}
            for decayed, decay in ((True, self.recipe.weight_decay), (False, 0.0))
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=self.recipe.learning_rate, fused=True)
        self.step = 0

    def epoch(self) -> float:
        """One pass and a look at validation: loss of the latter."""
        self.head.train()
        size, count = self.recipe.batch_size, len(self.train)
        total = -(-count // size) * self.recipe.epochs
        for chosen in torch.randperm(count, device=self.device).split(size):
            rows, weight = self.train[chosen], self.weight[chosen]
            for group in self.optimiser.param_groups:
                group["lr"] = self.recipe.learning_rate * part_of_rate(self.step, total, self.recipe.warmup)
            logits = self.forward([x[rows] for x in self.tokens])
            loss = (F.cross_entropy(logits, self.target[rows], reduction="none") * weight).sum() / weight.sum()
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.head.parameters(), self.recipe.clip_norm)
            self.optimiser.step()
            self.step += 1
        return self.look()

    @torch.inference_mode()
    def look(self, size: int = 512) -> float:
        self.head.eval()
        logits = torch.cat([self.forward([x[rows] for x in self.tokens]) for rows in self.val.split(size)])
        return float(F.cross_entropy(logits, self.target[self.val]))
