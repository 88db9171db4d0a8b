"""Sums over the positions of a batch and their transpose, what batch norm spends its time on.

XLA's CPU reduction over positions is slow: 0.18 ms for 64 × 14 × 14 × 16 numbers on one core, against 0.04 ms for the
product with a vector of ones. In reverse mode every broadcast becomes such a sum. With products in both places a
training step of the CNN with batch norm takes 17 % less, one of WRN-10-1 13 %, and one of the CNN without, for the sake
of its biases, 11 %. Accelerators keep the reduction, whose precision does not depend on that of products.
"""

from functools import partial

import jax
import jax.numpy as jnp


def total(x: jax.Array) -> jax.Array:
    """Sum over positions: ``[groups, positions, channels]`` to ``[groups, channels]``."""
    return _total(x) if jax.default_backend() == "cpu" else jnp.sum(x, 1)


def spread(x: jax.Array, count: int) -> jax.Array:
    """The same at ``count`` positions: ``[groups, channels]`` to ``[groups, count, channels]``."""
    return _spread(x, count) if jax.default_backend() == "cpu" else _broadcast(x, count)


def _broadcast(x: jax.Array, count: int) -> jax.Array:
    return jnp.broadcast_to(x[:, None], (len(x), count, x.shape[-1]))


@jax.custom_jvp
def _total(x: jax.Array) -> jax.Array:
    return jnp.einsum("gn,gnc->gc", jnp.ones(x.shape[:2], x.dtype), x)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _spread(x: jax.Array, count: int) -> jax.Array:
    return _broadcast(x, count)


# Reverse mode runs the transpose of the tangent: of a sum a broadcast, of a product with ones a product with ones. The
# dimension of the groups is in both factors: without it the transpose wants another layout and gains nothing.
_total.defjvp(lambda x, dx: (_total(*x), jnp.sum(dx[0], 1)))
_spread.defjvp(
    lambda count, x, dx: (
        _spread(x[0], count),
        jnp.einsum("gn,gc->gnc", jnp.ones((len(dx[0]), count), dx[0].dtype), dx[0]),
    )
)
