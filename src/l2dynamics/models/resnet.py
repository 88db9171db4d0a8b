"""Bottleneck ResNets; ResNet-50 on ImageNet is the paper's counter-example of Fig. S8."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from l2dynamics.models.layers import BatchNorm, Conv, Dense
from l2dynamics.models.layout import Layout, arrange


class ResNet(nn.Module):
    """ResNet (v1.5: the stride sits in the 3×3 convolution) of bottleneck blocks.

    ``blocks=(3, 4, 6, 3), width=64, stem="imagenet"`` is ResNet-50 with 25.6 million parameters.
    """

    blocks: tuple[int, ...]
    width: int
    stem: str
    classes: int
    bn_group: int | None = None
    dtype: Any = None
    layout: Layout = "NHWC"

    def normalised(self, layer: str) -> bool:
        """Whether batch norm removes the scale of the kernel of ``layer``: of every convolution."""
        return layer.startswith("Conv")

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = True) -> jax.Array:
        """Logits ``[batch, classes]`` of images ``[batch, height, width, 3]``."""
        conv = partial(Conv, dtype=self.dtype, layout=self.layout)

        def norm(x: jax.Array) -> jax.Array:
            return BatchNorm(self.bn_group, layout=self.layout)(x, train=train)

        x = arrange(x, self.layout)
        if self.stem == "imagenet":
            x = nn.relu(norm(conv(self.width, 7, strides=2)(x)))
            x = nn.max_pool(x, (3, 3), (2, 2), padding="SAME")
        else:
            x = nn.relu(norm(conv(self.width, 3)(x)))
        for stage, blocks in enumerate(self.blocks):
            channels = self.width * 2**stage
            for block in range(blocks):
                strides = 2 if stage > 0 and block == 0 else 1
                y = nn.relu(norm(conv(channels, 1)(x)))
                y = nn.relu(norm(conv(channels, 3, strides=strides)(y)))
                y = norm(conv(4 * channels, 1)(y))
                shortcut = x
                if block == 0:
                    shortcut = norm(conv(4 * channels, 1, strides=strides)(x))
                x = nn.relu(shortcut + y)
        logits = Dense(self.classes, self.dtype, self.layout)(jnp.mean(x, (1, 2)))
        return arrange(logits, self.layout)
