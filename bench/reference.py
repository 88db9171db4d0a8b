"""The networks and the training loop of the package in PyTorch, with the settings that are fastest there.

Same layers, batch, loss, L2 and momentum, hence the same arithmetic; parameters in ``torch.channels_last``, the
whole data set as float32 in memory, one fused SGD kernel, the steps in a plain loop. Strided convolutions pad both
sides where the package pads one: the same number of operations.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from l2dynamics.data.datasets import Dataset
from l2dynamics.experiments.setup import Setup


def _norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, track_running_stats=False)


class Flat(nn.Module):
    """Flatten in the order of the package: height, width, channels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[n, c, h, w]`` to ``[n, h w c]``."""
        return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1)


class Block(nn.Module):
    """Pre-activation block of a Wide ResNet."""

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(inputs), _norm(channels)
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        projected = inputs != channels or stride != 1
        self.shortcut = nn.Conv2d(inputs, channels, 1, stride, bias=False) if projected else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Block output."""
        y = functional.relu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(y)
        return shortcut + self.conv2(functional.relu(self.norm2(self.conv1(y))))


def network(setup: Setup, dataset: Dataset) -> nn.Module:
    """The network of a setup (fc, cnn or wrn)."""
    model: Any = setup.model
    side, colours = dataset.train_images.shape[2:]
    if model.kind == "fc":
        sizes = [side * side * colours, *[model.width] * model.depth]
        layers: list[nn.Module] = [Flat()]
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(sizes[-1], dataset.classes))
    if model.kind == "cnn":

        def activate() -> list[nn.Module]:
            return [*([_norm(model.channels)] if model.batch_norm else []), nn.ReLU()]

        layers = []
        for part, inputs in enumerate((colours, model.channels)):
            layers += [nn.Conv2d(inputs, model.channels, 3, padding=1), *activate()]
            layers += [nn.Conv2d(model.channels, model.channels, 3), *([] if part else activate())]
            layers += [nn.MaxPool2d(model.pool_window, model.pool_stride)]
            side = (side - 2 - model.pool_window) // model.pool_stride + 1
        flat = side * side * model.channels
        layers += [Flat(), nn.Linear(flat, model.dense), nn.Linear(model.dense, dataset.classes)]
        return nn.Sequential(*layers)
    assert model.kind == "wrn"
    layers, inputs = [nn.Conv2d(colours, 16, 3, padding=1, bias=False)], 16
    for group, channels in enumerate(model.widen * width for width in (16, 32, 64)):
        for block in range((model.depth - 4) // 6):
            layers.append(Block(inputs, channels, 2 if group and not block else 1))
            inputs = channels
    tail = [_norm(inputs), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, *tail, nn.Linear(inputs, dataset.classes))


def initialize(net: nn.Module, sigma_w: float) -> None:
    """Kernels ~ N(0, σw² / N_in), biases 0, as in the package."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, 0, sigma_w / layer.weight[0].numel() ** 0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class Reference:
    """Training and evaluation of one run at a time in PyTorch; every method takes and returns step counts."""

    def __init__(
        self,
        setup: Setup,
        dataset: Dataset,
        *,
        eta: float,
        l2: float,
        compiled: bool,
        device: str = "cpu",
        autocast: bool = False,
    ) -> None:
        self.setup, self.classes, self.device, self.autocast = setup, dataset.classes, device, autocast
        self.net = network(setup, dataset).to(device, memory_format=torch.channels_last)
        initialize(self.net, setup.sigma_w)
        self.forward: Callable[..., Any] = torch.compile(self.net) if compiled else self.net
        self.optimizer = torch.optim.SGD(
            self.net.parameters(), lr=eta, momentum=setup.momentum, weight_decay=l2, fused=True
        )
        mean, std = (torch.tensor(part, dtype=torch.float32) for part in (dataset.mean, dataset.std))

        def prepare(images: Any, labels: Any, count: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
            x = ((torch.from_numpy(np.asarray(images[:count])) / 255 - mean) / std).permute(0, 3, 1, 2)
            x = x.contiguous(memory_format=torch.channels_last)
            return x.to(device), torch.from_numpy(np.asarray(labels[:count], np.int64)).to(device)

        self.train_set = prepare(dataset.train_images, dataset.train_labels)
        self.evaluated = [
            prepare(dataset.train_images, dataset.train_labels, setup.eval_train),
            prepare(dataset.test_images, dataset.test_labels),
        ]
        self.examples = len(self.train_set[1])
        self.order = torch.randperm(self.examples, device=device)

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Mean over the batch of the loss of SM A."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.autocast):
            logits = self.forward(x).float()
        if self.setup.loss == "mse":
            targets = y if y.is_floating_point() else functional.one_hot(y, self.classes).float()
            return (logits - targets).square().sum(1).mean() / (2 * self.classes)
        return functional.cross_entropy(logits, y) / (2 * self.classes)

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of one step."""
        x, y = self.train_set
        if self.setup.batch == self.examples:
            return x, y
        per_epoch = -(-self.examples // self.setup.batch)
        if step % per_epoch == 0:
            self.order = torch.randperm(self.examples, device=self.device)
        first = (step % per_epoch) * self.setup.batch
        rows = self.order[first : first + self.setup.batch]
        x, y = x[rows], y[rows]
        return self.augmented(x, y) if self.setup.augment else (x, y)

    def augmented(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Flip, crop and mixup."""
        count, _, side, _ = x.shape
        pad = max(1, 4 * side // 32)
        x = torch.where(torch.rand(count, 1, 1, 1, device=self.device) < 0.5, x.flip(3), x)
        x = functional.pad(x, (pad, pad, pad, pad))
        span = torch.arange(side, device=self.device)
        rows = torch.randint(0, 2 * pad + 1, (count, 1), device=self.device) + span
        columns = torch.randint(0, 2 * pad + 1, (count, 1), device=self.device) + span
        example = torch.arange(count, device=self.device)[:, None, None]
        x = x.permute(0, 2, 3, 1)[example, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        targets, weight = functional.one_hot(y, self.classes).float(), torch.rand((), device=self.device)
        partner = torch.randperm(count, device=self.device)
        x = weight * x + (1 - weight) * x[partner]
        return x, weight * targets + (1 - weight) * targets[partner]

    def train(self, start: int, stop: int) -> None:
        """Steps ``start`` to ``stop``."""
        for step in range(start, stop):
            self.optimizer.zero_grad(set_to_none=True)
            self.loss(*self.batch(step)).backward()
            self.optimizer.step()
        if self.device != "cpu":
            torch.cuda.synchronize()

    @torch.no_grad()
    def evaluate(self) -> list[float]:
        """Loss and accuracy of training and test set, norm of the parameters."""
        found = []
        for x, y in self.evaluated:
            loss = hits = 0.0
            for chunk, labels in zip(
                x.split(self.setup.eval_batch), y.split(self.setup.eval_batch), strict=True
            ):
                logits = self.net(chunk)
                loss += float(functional.cross_entropy(logits, labels, reduction="sum")) / (2 * self.classes)
                hits += float((logits.argmax(1) == labels).sum())
            found += [loss / len(y), hits / len(y)]
        return [*found, float(sum(p.square().sum() for p in self.net.parameters()) ** 0.5)]
