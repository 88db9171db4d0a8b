"""The convolutional network of Fig. 3 (SM A)."""

from typing import Any

import flax.linen as nn
import jax

from l2dynamics.models.layers import BatchNorm, Bias, conv, dense, max_pool


class Cnn(nn.Module):
    """Conv SAME, Act, Conv VALID, Act, MaxPool, Conv SAME, Act, Conv VALID, MaxPool, Flatten, Dense, Dense.

    All convolutions are 3×3 with bias; Act is (batch norm and) ReLU; as printed, nothing but the pooling follows
    the fourth convolution and no activation stands between the dense layers.

    Attributes:
        channels: filters of every convolution, 300 in the paper.
        hidden: units of the first dense layer, 500 in the paper.
        pool_window, pool_stride: the paper's (6, 6) window fits only with stride 1, the default of Stax;
            small scales take 2 and 2.
    """

    channels: int
    hidden: int
    batch_norm: bool
    pool_window: int
    pool_stride: int
    classes: int
    bn_group: int | None = None
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = True) -> jax.Array:
        """Logits ``[batch, classes]`` of images ``[batch, height, width, 3]``."""

        def norm(x: jax.Array) -> jax.Array:
            return BatchNorm(self.bn_group)(x, train=train) if self.batch_norm else x

        for last in (False, True):
            x = nn.relu(norm(Bias()(conv(self.channels, 3, dtype=self.dtype)(x))))
            x = Bias()(conv(self.channels, 3, padding="VALID", dtype=self.dtype)(x))
            x = x if last else norm(x)
            # ReLU and maximum commute; after the pooling ReLU has less to do.
            x = max_pool(x, self.pool_window, self.pool_stride)
            x = x if last else nn.relu(x)
        x = dense(self.hidden, self.dtype)(x.reshape(x.shape[0], -1))
        return dense(self.classes, self.dtype)(x)
