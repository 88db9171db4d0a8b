"""How far a step turns weights whose scale the network does not see."""

from typing import Any

import jax
import jax.numpy as jnp


def turned(before: Any, after: Any, where: Any) -> dict[str, jax.Array]:
    """Angle between the weights of an output channel before and after a step, its root mean square over channels.

    Args:
        before: parameters by layer and name.
        after: the same after the step.
        where: a bool for every leaf, whether to measure it.

    Returns:
        ``angle_<layer>`` in radians, float32 scalars.
    """
    found = {}
    leaves = jax.tree_util.tree_leaves_with_path(before)
    for (path, old), new, wanted in zip(leaves, jax.tree.leaves(after), jax.tree.leaves(where), strict=True):
        if wanted:
            one, other = (_directions(kernel) for kernel in (old, new))
            # Half the chord is the sine of half the angle; the cosine of a small angle has no digits left.
            sine = 0.5 * jnp.sqrt(jnp.sum(jnp.square(one - other), 0))
            angle = 2 * jnp.arcsin(jnp.minimum(sine, 1.0))
            found[f"angle_{path[0].key}"] = jnp.sqrt(jnp.mean(jnp.square(angle)))
    return found


def _directions(kernel: jax.Array) -> jax.Array:
    """Unit vectors of the output channels, ``[weights, channels]``."""
    weights = kernel.reshape(-1, kernel.shape[-1]).astype(jnp.float32)
    return weights / jnp.sqrt(jnp.sum(jnp.square(weights), 0))
