"""The convolutional network of Fig. 3 (SM A)."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax

from l2dynamics.models.layers import BatchNorm, Bias, Conv, Dense, max_pool
from l2dynamics.models.layout import Layout, arrange, flatten


class Cnn(nn.Module):
    """Conv SAME, Act, Conv VALID, Act, MaxPool, Conv SAME, Act, Conv VALID, MaxPool, Flatten, Dense, Dense.

    All convolutions are 3×3 with bias; Act is (batch norm and) ReLU; as printed, nothing but the pooling follows
    the fourth convolution and no activation stands between the dense layers.

    Attributes:
        channels: filters of every convolution, 300 in the paper.
        hidden: units of the first dense layer, 500 in the paper.
        pool_window, pool_stride: the paper's (6, 6) window fits only with stride 1, the default of Stax;
            small scales take 2 and 2.
        layout: of what is between the layers.
    """

    channels: int
    hidden: int
    batch_norm: bool
    pool_window: int
    pool_stride: int
    classes: int
    bn_group: int | None = None
    dtype: Any = None
    layout: Layout = "NHWC"

    def normalised(self, layer: str) -> bool:
        """Whether batch norm removes the scale of the kernel of ``layer``: of the first three convolutions."""
        return self.batch_norm and layer in ("Conv_0", "Conv_1", "Conv_2")

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = True) -> jax.Array:
        """Logits ``[batch, classes]`` of images ``[batch, height, width, 3]``."""
        conv = partial(Conv, dtype=self.dtype, layout=self.layout)
        dense = partial(Dense, dtype=self.dtype, layout=self.layout)

        def norm(x: jax.Array) -> jax.Array:
            return BatchNorm(self.bn_group, layout=self.layout)(x, train=train) if self.batch_norm else x

        x = arrange(x, self.layout)
        for last in (False, True):
            x = nn.relu(norm(Bias(self.layout)(conv(self.channels, 3)(x))))
            x = Bias(self.layout)(conv(self.channels, 3, padding="VALID")(x))
            x = x if last else norm(x)
            # ReLU and maximum commute; after the pooling ReLU has less to do.
            x = max_pool(x, self.pool_window, self.pool_stride)
            x = x if last else nn.relu(x)
        x = dense(self.hidden)(flatten(x, self.layout))
        return arrange(dense(self.classes)(x), self.layout)
