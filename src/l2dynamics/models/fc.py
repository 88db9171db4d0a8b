"""Fully connected ReLU networks (Figs. 2a–c, S5, S7)."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax

from l2dynamics.models.layers import Dense
from l2dynamics.models.layout import Layout, arrange


class FullyConnected(nn.Module):
    """``depth`` hidden layers of ``width`` ReLU units; the paper: 3 × 2048 on MNIST, 3 × 64 on CIFAR-10."""

    depth: int
    width: int
    classes: int
    dtype: Any = None
    layout: Layout = "NHWC"

    def normalised(self, layer: str) -> bool:
        """Whether batch norm removes the scale of the kernel of ``layer``: there is none."""
        del layer
        return False

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = True) -> jax.Array:
        """Logits ``[batch, classes]`` of inputs ``[batch, …]``."""
        del train
        dense = partial(Dense, dtype=self.dtype, layout=self.layout)
        x = arrange(x.reshape(x.shape[0], -1), self.layout)
        for _ in range(self.depth):
            x = nn.relu(dense(self.width)(x))
        return arrange(dense(self.classes)(x), self.layout)
