"""The one place where L2 regularization is written.

The paper's penalty is ``½ λ ‖θ‖²`` over *all* trainable parameters: weights, biases, batch-norm scales and offsets;
setups of ours can restrict it to some of them. It is part of the loss, so its gradient λθ goes through momentum
(coupled; not decoupled weight decay, which AdamW has).
"""

from typing import TypeVar

import jax
import jax.numpy as jnp

Tree = TypeVar("Tree")


def squared_norm(params: object) -> jax.Array:
    """``‖θ‖²`` over all leaves, a float32 scalar."""
    leaves = jax.tree.leaves(params)
    return sum((jnp.sum(jnp.square(leaf.astype(jnp.float32))) for leaf in leaves), start=jnp.float32(0))


def l2_penalty(params: object, l2: jax.Array | float) -> jax.Array:
    """``½ λ ‖θ‖²``, the term added to the loss."""
    return 0.5 * l2 * squared_norm(params)


def add_l2(grads: Tree, params: Tree, l2: jax.Array | float, where: object = None) -> Tree:
    """Gradient of the loss plus that of :func:`l2_penalty`: ``g + λ θ``, leaf by leaf.

    Args:
        grads: of the loss.
        params: parameters θ, a tree of the same structure.
        l2: coefficient λ.
        where: a bool for every leaf, whether L2 acts on it; None: on all, as in the paper.
    """
    acts = jax.tree.map(lambda _: True, params) if where is None else where
    return jax.tree.map(lambda g, p, on: g + jnp.asarray(l2, p.dtype) * p if on else g, grads, params, acts)
