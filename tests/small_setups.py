"""Setups and data of a few hundred numbers, for tests of the training core."""

import hashlib
from typing import Any

import jax.numpy as jnp
import numpy as np

from l2dynamics.data.datasets import Dataset, channel_statistics
from l2dynamics.experiments.setup import Setup
from l2dynamics.training.update import NEVER, Hyper

MODELS: dict[str, dict[str, Any]] = {
    "fc": {"kind": "fc", "depth": 2, "width": 6},
    "cnn": {
        "kind": "cnn",
        "channels": 2,
        "dense": 4,
        "batch_norm": False,
        "pool_window": 2,
        "pool_stride": 2,
    },
    "cnn_bn": {
        "kind": "cnn",
        "channels": 2,
        "dense": 4,
        "batch_norm": True,
        "pool_window": 2,
        "pool_stride": 2,
    },
    "wrn": {"kind": "wrn", "depth": 10, "widen": 1},
}


def setup(model: str = "fc", **changes: Any) -> Setup:
    """A setup on 24 training and 10 test images, batch 8 (three steps per epoch)."""
    name, size = ("mnist", 4) if model == "fc" else ("cifar10", 10 if model.startswith("cnn") else 8)
    fields: dict[str, Any] = {
        "data": {"name": name, "train": 24, "test": 10, "image_size": size},
        "model": MODELS[model],
        "batch": 8,
        "sigma_w": 2**0.5,
        "eval_batch": 12,
    }
    return Setup.model_validate(fields | changes)


def dataset(of: Setup, seed: int = 0) -> Dataset:
    """Random images of the right size; labels that can be learned (the brightest patch)."""
    data = of.data
    size, channels = data.image_size, 1 if data.name == "mnist" else 3
    assert size is not None
    assert data.train is not None
    assert data.test is not None
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, data.train + data.test).astype(np.int32)
    images = rng.integers(0, 200, (len(labels), size, size, channels)).astype(np.uint8)
    images[np.arange(len(labels)), labels // 4, labels % 4] = 255
    digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    mean, std = channel_statistics(images[: data.train])
    train, test = slice(None, data.train), slice(data.train, None)
    return Dataset(
        data.name,
        "sample",
        "0.0.0",
        10,
        images[train],
        labels[train],
        images[test],
        labels[test],
        mean,
        std,
        digest,
    )


def hyper(
    eta: float = 0.5,
    l2: float = 0.01,
    sigma_w: float = 2**0.5,
    seed: int = 0,
    decays: tuple[int, ...] = (),
    factor: float = 0.2,
) -> Hyper:
    """The traced hyper-parameters of one run."""
    return Hyper(
        jnp.float32(eta),
        jnp.float32(l2),
        jnp.float32(sigma_w),
        jnp.int32(seed),
        jnp.asarray([*decays, *[NEVER] * (3 - len(decays))], jnp.int32),
        jnp.float32(factor),
        jnp.int32(NEVER),
    )
