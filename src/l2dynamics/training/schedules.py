"""Learning-rate schedules: η_t / η₀ before a step, and its sum over the steps before it, ∫η dt / η₀."""

import jax
import jax.numpy as jnp
import numpy as np

Step = jax.Array | np.int32


def stepwise(step: Step, decays: jax.Array, factor: jax.Array) -> jax.Array:
    """Multiplied by ``factor`` at each of the steps ``decays``, float32."""
    return factor ** jnp.sum(step >= decays).astype(jnp.float32)


def stepwise_sum(step: Step, decays: jax.Array, factor: jax.Array) -> jax.Array:
    """Sum of :func:`stepwise` over the steps before ``step``, rounded down to int32: their number without decays."""
    begin = jnp.concatenate([jnp.zeros(1, jnp.int32), decays])
    end = jnp.append(decays, jnp.int32(np.iinfo(np.int32).max))
    steps = jnp.clip(step - begin, 0, end - begin).astype(jnp.float32)
    rates = factor ** jnp.arange(len(begin), dtype=jnp.float32)
    return jnp.floor(jnp.sum(steps * rates)).astype(jnp.int32)


def cosine(step: Step, steps: jax.Array) -> jax.Array:
    """Half a period of a cosine from 1 to 0 over ``steps`` steps, float32 (Loshchilov & Hutter 2017)."""
    part = jnp.asarray(step, jnp.float32) / jnp.asarray(steps, jnp.float32)
    return 0.5 * (1 + jnp.cos(jnp.float32(np.pi) * part))


def cosine_sum(step: Step, steps: jax.Array) -> jax.Array:
    """Sum of :func:`cosine` over the steps before ``step``, rounded down to int32.

    It is that of the geometric series Σ cos(jx), half of it sin((t − ½) x) / sin(x / 2) + 1.
    """
    angle = jnp.float32(np.pi) / jnp.asarray(steps, jnp.float32)
    time = jnp.asarray(step, jnp.float32)
    cosines = 0.5 * (jnp.sin((time - 0.5) * angle) / jnp.sin(0.5 * angle) + 1)
    return jnp.maximum(jnp.floor(0.5 * (time + cosines)), 0).astype(jnp.int32)
