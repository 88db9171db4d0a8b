"""AutoL2 in JAX arrays, traced or not: the arithmetic of :class:`l2dynamics.AutoL2` when it is given any.

Imported only where arrays come in, so that the rule itself needs no JAX.
"""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

_LAST_STEP = jnp.iinfo(jnp.int32).max
_MISSING = np.finfo(np.float32).max
_BEYOND_LAST_STEP = np.float32(2**33)
_SMALLEST = np.finfo(np.float32).tiny

State = TypeVar("State", bound=Any)


def init(kind: type[State], l2: jax.typing.ArrayLike) -> State:
    """Return the state (a ``kind``, see :class:`l2dynamics.autol2.AutoL2State`) before the first measurement."""
    missing = jnp.full((), _MISSING, jnp.float32)
    zero = jnp.zeros((), jnp.int32)
    return kind(
        l2=jnp.asarray(l2, jnp.float32),
        min_step=zero,
        min_loss=missing,
        min_error=missing,
        previous_loss=missing,
        previous_error=missing,
        measurements=zero,
    )


def update(
    state: State,
    step: jax.typing.ArrayLike,
    loss: jax.typing.ArrayLike,
    error: jax.typing.ArrayLike,
    *,
    decay: Any,
    refractory: Any,
    smoothing: Any,
    slack: float,
) -> State:
    """Take one measurement, see :meth:`l2dynamics.AutoL2.update`; all arrays are of one shape."""
    state = type(state)(
        *(
            jnp.asarray(value).astype(jnp.int32 if name in ("min_step", "measurements") else jnp.float32)
            for name, value in zip(state._fields, state, strict=True)
        )
    )
    step = jnp.asarray(step).astype(jnp.int32)
    loss = _finite_or_missing(loss)
    error = _finite_or_missing(error)
    if not (isinstance(smoothing, float) and smoothing == 0):
        loss = _smoothed(loss, state.previous_loss, smoothing)
        error = _smoothed(error, state.previous_error, smoothing)
    measured_before = state.measurements > 0

    def increases(now: jax.Array, before: jax.Array, minimum: jax.Array) -> jax.Array:
        above = (now > minimum) | (now >= _MISSING)
        above_before = (before > minimum) | (before >= _MISSING)
        return above & above_before & measured_before

    worse = increases(loss, state.previous_loss, state.min_loss) | increases(
        error, state.previous_error, state.min_error
    )
    decays = worse & (step > state.min_step)
    lowered = state.l2 * jnp.float32(decay)
    return type(state)(
        l2=jnp.where(decays, lowered, state.l2),
        min_step=jnp.where(decays, _end_of_pause(step, lowered, refractory, slack), state.min_step),
        min_loss=jnp.where(decays, state.min_loss, jnp.minimum(state.min_loss, state.previous_loss)),
        min_error=jnp.where(decays, state.min_error, jnp.minimum(state.min_error, state.previous_error)),
        previous_loss=loss,
        previous_error=error,
        measurements=state.measurements + 1,
    )


def _end_of_pause(step: jax.Array, l2: jax.Array, refractory: Any, slack: float) -> jax.Array:
    refractory = jnp.float32(refractory)
    # Keeps the quotient finite when λ has underflown, and lets it still outlast every step counter.
    divisor = jnp.maximum(l2, jnp.maximum(refractory / _BEYOND_LAST_STEP, _SMALLEST))
    pause = jnp.floor(refractory / divisor * jnp.float32(slack))
    # Saturate before the cast: with λ below 1e-10 the pause outlasts every int32 step counter.
    fits = pause < (_LAST_STEP - step).astype(jnp.float32)
    return jnp.where(fits, step + jnp.where(fits, pause, 0).astype(jnp.int32), _LAST_STEP)


def _finite_or_missing(value: jax.typing.ArrayLike) -> jax.Array:
    value = jnp.asarray(value).astype(jnp.float32)
    return jnp.where(jnp.isfinite(value), value, _MISSING)


def _smoothed(value: jax.Array, previous: jax.Array, smoothing: Any) -> jax.Array:
    """Return the running mean; what is missing on either side leaves the new value as it is."""
    known = (value < _MISSING) & (previous < _MISSING)
    kept = jnp.where(known, previous, value)
    return value + jnp.float32(smoothing) * (kept - value)
