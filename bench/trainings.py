"""Small trainings that no claim uses, to measure suggestions on: networks, optimizers, schedules, budgets.

:data:`TRAININGS` are those that :func:`l2dynamics.suggest_l2` and ``AutoL2.for_training`` were improved on,
:data:`FRESH` those that were added afterwards, to test what came of it: nothing was changed after a look at them.

2,000 training and 500 test images of CIFAR-10 at 16 × 16 (one: MNIST at 14 × 14), batches of 32.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from l2dynamics import AutoL2
from l2dynamics.data import datasets

Curve = Iterator[tuple[float, float]]
BATCH, CLASSES = 32, 10


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        name: its name.
        framework: module of its network and loop, ``jax`` or ``torch``.
        network: name of the network there.
        learning_rate: η at the start.
        momentum: heavy-ball momentum of SGD.
        adamw: AdamW in place of SGD.
        decays: where η is divided by five, as fractions of the budget.
        steps: the budget in weight updates.
        every: steps between evaluations.
        data: ``cifar10`` or ``mnist``.
    """

    name: str
    framework: str
    network: str
    learning_rate: float
    steps: int
    momentum: float = 0.0
    adamw: bool = False
    decays: tuple[float, ...] = ()
    every: int = 5
    data: str = "cifar10"

    @property
    def rate(self) -> float:
        """η/(1 − momentum)."""
        return self.learning_rate / (1 - self.momentum)

    def run(self, l2: float | AutoL2, seed: int) -> Curve:
        """Train for the whole budget with its schedule; yield (step, test accuracy)."""
        return module(self).train(self, l2, seed)

    def make_run(self) -> Any:
        """Return the run that :func:`l2dynamics.suggest_l2` starts, as a user would build it."""
        return module(self).make_run(self)

    def rate_at(self, step: int) -> float:
        """The learning rate of an update, counted from 0."""
        return self.learning_rate / 5 ** sum(step >= decay * self.steps for decay in self.decays)


STEPS = (0.5, 0.8)
TRAININGS = (
    Training("fc-sgd", "jax", "fc", 0.05, 300),
    Training("fc-sgd-long", "jax", "fc", 0.05, 3000, every=10),
    Training("mixer-momentum", "jax", "mixer", 0.02, 600, momentum=0.9),
    Training("mixer-adamw-step", "jax", "mixer", 1e-3, 400, adamw=True, decays=STEPS),
    Training("wrn-momentum", "jax", "wrn", 0.05, 300, momentum=0.9),
    Training("gru-adamw", "jax", "gru", 2e-3, 600, adamw=True),
    Training("cnn_bn-momentum", "torch", "cnn_bn", 0.02, 600, momentum=0.9),
    Training("cnn-sgd-step", "torch", "cnn", 0.1, 800, decays=STEPS),
    Training("mlp-dropout-adamw", "torch", "mlp", 1e-3, 1500, adamw=True, every=10),
    Training("vit-adamw", "torch", "vit", 1e-3, 400, adamw=True),
    Training("gru-momentum", "torch", "gru", 0.05, 800, momentum=0.9),
    Training("fc-mnist-step", "torch", "fc", 0.02, 300, momentum=0.9, decays=STEPS, data="mnist"),
)
FRESH = (
    Training("wrn-sgd", "jax", "wrn", 0.2, 500),
    Training("mixer-sgd-long", "jax", "mixer", 0.1, 1500),
    Training("fc-mnist-sgd", "torch", "fc", 0.1, 2000, every=10, data="mnist"),
    Training("cnn-momentum", "torch", "cnn", 0.01, 1000, momentum=0.9),
    Training("cnn_bn-adamw", "torch", "cnn_bn", 1e-3, 600, adamw=True),
    Training("gru-momentum-step", "torch", "gru", 0.05, 1000, momentum=0.9, decays=STEPS),
)


def module(training: Training) -> Any:
    """The module with the networks of a training's framework."""
    return import_module(f"bench.trainings_{training.framework}")


@cache
def images(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Normalised training images ``[n, side, side, channels]``, labels, test images and labels."""
    sizes = {"cifar10": (2000, 500, 16), "mnist": (512, 500, 14)}
    train, test, side = sizes[name]
    found = datasets.load(name, train=train, test=test, image_size=side)
    x, x_test = (
        ((np.asarray(part) / 255 - found.mean) / found.std).astype(np.float32)
        for part in (found.train_images, found.test_images)
    )
    return x, found.train_labels.astype(np.int32), x_test, found.test_labels.astype(np.int32)


def epoch(n: int, seed: int) -> Iterator[np.ndarray]:
    """Indices of the minibatches of one epoch."""
    order = np.random.default_rng(seed).permutation(n)
    yield from (order[first : first + BATCH] for first in range(0, n - BATCH + 1, BATCH))


def endless(n: int, seed: int) -> Iterator[np.ndarray]:
    """Indices of minibatches, one epoch after the other."""
    for number in range(10**9):
        yield from epoch(n, seed + 1_000_003 * number)
