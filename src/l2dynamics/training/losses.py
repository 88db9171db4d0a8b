"""Losses in the paper's normalisation: a sum over classes divided by 2 k |B| (SM A).

The paper prints the softmax loss without its minus sign; here it is the usual cross-entropy.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Loss = Callable[[jax.Array, jax.Array], jax.Array]


def softmax_loss(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Per-example cross-entropy divided by 2k: ``−Σ_i y_i log p_i / (2k)``.

    Args:
        logits: network outputs, shape ``[batch, k]``.
        targets: one-hot or mixed labels, shape ``[batch, k]``.

    Returns:
        Shape ``[batch]``; its mean is the loss of SM A.
    """
    classes = logits.shape[-1]
    return -jnp.sum(targets * jax.nn.log_softmax(logits), axis=-1) / (2 * classes)


def mse_loss(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Per-example squared error divided by 2k: ``‖f − y‖² / (2k)`` (SM C.4); shapes as :func:`softmax_loss`."""
    classes = logits.shape[-1]
    return jnp.sum(jnp.square(logits - targets), axis=-1) / (2 * classes)


LOSSES: dict[str, Loss] = {"softmax": softmax_loss, "mse": mse_loss}


def correct(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """1.0 where the largest logit is the (dominant) label, else 0.0; shape ``[batch]``. NaN logits are wrong."""
    hit = jnp.argmax(logits, axis=-1) == jnp.argmax(targets, axis=-1)
    return jnp.where(jnp.isfinite(logits).all(axis=-1), hit, False).astype(jnp.float32)
