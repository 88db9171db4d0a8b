"""Bottleneck ResNets; ResNet-50 on ImageNet is the paper's counter-example of Fig. S8."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from l2dynamics.models.layers import BatchNorm, conv, dense


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

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = True) -> jax.Array:
        """Logits ``[batch, classes]`` of images ``[batch, height, width, 3]``."""

        def norm(x: jax.Array) -> jax.Array:
            return BatchNorm(self.bn_group)(x, train=train)

        if self.stem == "imagenet":
            x = nn.relu(norm(conv(self.width, 7, strides=2, dtype=self.dtype)(x)))
            x = nn.max_pool(x, (3, 3), (2, 2), padding="SAME")
        else:
            x = nn.relu(norm(conv(self.width, 3, dtype=self.dtype)(x)))
        for stage, blocks in enumerate(self.blocks):
            channels = self.width * 2**stage
            for block in range(blocks):
                strides = 2 if stage > 0 and block == 0 else 1
                y = nn.relu(norm(conv(channels, 1, dtype=self.dtype)(x)))
                y = nn.relu(norm(conv(channels, 3, strides=strides, dtype=self.dtype)(y)))
                y = norm(conv(4 * channels, 1, dtype=self.dtype)(y))
                shortcut = x
                if block == 0:
                    shortcut = norm(conv(4 * channels, 1, strides=strides, dtype=self.dtype)(x))
                x = nn.relu(shortcut + y)
        return dense(self.classes, self.dtype)(jnp.mean(x, (1, 2)))
