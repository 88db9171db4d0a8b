"""Wide ResNets (Zagoruyko & Komodakis 2016); the paper trains 28-10."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from l2dynamics.models.layers import BatchNorm, Conv, Dense
from l2dynamics.models.layout import Layout, arrange, channel_axis


class WideResNet(nn.Module):
    """WRN-``depth``-``widen``: 3 groups of (depth − 4) / 6 pre-activation blocks of 16, 32, 64 × widen channels.

    28-10 has 36.5 million parameters. Convolutions have no bias, batch norms have scale and offset.
    """

    depth: int
    widen: int
    classes: int
    bn_group: int | None = None
    dtype: Any = None
    layout: Layout = "NHWC"

    def normalised(self, layer: str) -> bool:
        """Whether batch norm removes the scale of the kernel of ``layer``: that common to all convolutions."""
        return layer.startswith("Conv")

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = True) -> jax.Array:
        """Logits ``[batch, classes]`` of images ``[batch, height, width, 3]``."""
        conv = partial(Conv, dtype=self.dtype, layout=self.layout)

        def activate(x: jax.Array) -> jax.Array:
            return nn.relu(BatchNorm(self.bn_group, layout=self.layout)(x, train=train))

        x = conv(16, 3)(arrange(x, self.layout))
        for group, channels in enumerate((16 * self.widen, 32 * self.widen, 64 * self.widen)):
            for block in range((self.depth - 4) // 6):
                strides = 2 if group > 0 and block == 0 else 1
                y = activate(x)
                shortcut = x
                if x.shape[channel_axis(self.layout)] != channels or strides != 1:
                    shortcut = conv(channels, 1, strides=strides)(y)
                y = conv(channels, 3, strides=strides)(y)
                x = shortcut + conv(channels, 3)(activate(y))
        logits = Dense(self.classes, self.dtype, self.layout)(jnp.mean(activate(x), (1, 2)))
        return arrange(logits, self.layout)
