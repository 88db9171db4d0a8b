"""What stage ``theory`` computes on: MNIST, even against odd, with the kernel of the infinitely wide network.

Labels are y = +1 for even digits and −1 for odd ones; images are standardised as in training.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from l2dynamics.data import datasets, decoded
from l2dynamics.theory import ntk, wide
from l2dynamics.theory.schema import TheoryConfig
from l2dynamics.theory.solution import Array


@dataclass(frozen=True)
class Problem:
    """MNIST, even against odd.

    Attributes:
        x: training images ``[samples, d]``, standardised; ``x_test`` the test images of the networks.
        y: ±1, ``[samples]``; ``y_test`` for the test set.
        inputs: both in the basis of the training images, for :mod:`l2dynamics.theory.wide`.
        kernel: Θ of the infinitely wide two-layer ReLU network, ``[samples, samples]``.
        kernel_test: the same, ``[test, samples]``.
        source: what was loaded; its test set is as large as the largest use asks for.
    """

    x: Array
    y: Array
    x_test: Array
    y_test: Array
    inputs: wide.Inputs
    kernel: Array
    kernel_test: Array
    source: datasets.Dataset


@lru_cache(maxsize=1)
def load(config: TheoryConfig, source: str, root: Path) -> Problem:
    """Load and standardise the images.

    Raises:
        ValueError: the data are missing or too few; the message names the remedy.
    """
    test = max(config.test, config.test_star.test, config.finite_star.test)
    loaded = decoded.load("mnist", train=config.samples, test=test, image_size=None, source=source, root=root)
    x = standardised(loaded, loaded.train_images)
    x_test = standardised(loaded, loaded.test_images[: config.test])
    return Problem(
        x,
        signs(loaded.train_labels),
        x_test,
        signs(loaded.test_labels[: config.test]),
        wide.project(x, x_test),
        ntk.relu_ntk(x),
        ntk.relu_ntk(x_test, x),
        loaded,
    )


def standardised(source: datasets.Dataset, images: Any) -> Array:
    """Return images uint8 ``[n, …]`` as ``[n, d]``, with the mean and deviation of the training images in use."""
    scaled = (np.asarray(images, np.float64) / 255 - source.mean) / source.std
    return np.asarray(scaled.reshape(len(images), -1), np.float64)


def signs(labels: Any) -> Array:
    """Return y ``[n]`` of digits ``[n]``: +1 for even ones, −1 for odd ones."""
    return np.where(np.asarray(labels) % 2 == 0, 1.0, -1.0)


def require_stable(name: str, eta: float, eigenvalue: float) -> None:
    """Refuse a learning rate at which gradient descent on a mode with this kernel eigenvalue diverges.

    Args:
        name: of the field, for the message.
        eta: η.
        eigenvalue: of the kernel, the largest.

    Raises:
        ValueError: η · eigenvalue ≥ 2.
    """
    if eta * eigenvalue >= 2:
        raise ValueError(
            f"theory.{name}: {eta:g} is unstable, the largest kernel eigenvalue is {eigenvalue:.3g}: "
            f"take less than {2 / eigenvalue:.2g}"
        )


def loss(f: Array, y: Array) -> Array:
    """Return the loss per sample, Σ ½ (f − y)² / N, over the last axis; gradient flow runs on the sum (section 4)."""
    return np.asarray(0.5 * ((f - y) ** 2).mean(axis=-1))
