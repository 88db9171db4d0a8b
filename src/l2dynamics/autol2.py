"""AutoL2: decay the L2 coefficient whenever training stops getting better (supplement E, Algorithm 1).

:class:`AutoL2` is the rule, for any training loop; :mod:`l2dynamics.autol2_optax` has it for an optax chain.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from l2dynamics.arguments import real, whole

# A refractory period is a whole number of steps. Without this slack, float32 rounding would turn 0.1 / 0.01
# into 9.9999 and let a decay happen one step early.
_ROUNDING_SLACK = 1 + 2e-6
_LAST_STEP = jnp.iinfo(jnp.int32).max
# Stands for "not measured" and "not finite" in the state: an infinity there would stop every program under
# jax.debug_infs, and no loss comes near it.
_MISSING = np.finfo(np.float32).max
_BEYOND_LAST_STEP = np.float32(2**33)
_SMALLEST = np.finfo(np.float32).tiny

_FIELDS: dict[str, tuple[Callable[..., float], Callable[[float], bool], str]] = {
    "init_l2": (real, lambda value: value > 0, "it must be a positive number, such as 0.1"),
    "decay": (real, lambda value: 0 < value < 1, "it must lie between 0 and 1, such as 0.1"),
    "every": (whole, lambda value: value >= 1, "it must be a whole number of steps, at least 1"),
    "refractory": (real, lambda value: value >= 0, "it must be zero or a positive number, such as 0.1"),
}


class AutoL2State(NamedTuple):
    """State of :class:`AutoL2`: a pytree of scalars, or of arrays of one shape when many runs are batched."""

    l2: jax.Array  # float32: the coefficient in force now
    min_step: jax.Array  # int32: no decay at or before this step
    min_loss: jax.Array  # float32, the largest float32 until two measurements were made
    min_error: jax.Array  # float32, as min_loss
    previous_loss: jax.Array  # float32, the largest one before the first measurement and for a non-finite one
    previous_error: jax.Array  # float32, as previous_loss
    measurements: jax.Array  # int32: how many were made


@jax.tree_util.register_static
@dataclass(frozen=True)
class AutoL2:
    """The AutoL2 rule of Algorithm 1 (supplement E), without an optimizer.

    Start with a large coefficient λ and multiply it by ``decay`` as soon as the loss (without the L2 term) or
    the error on the training data is above its minimum in two measurements in a row. Then leave λ alone for
    ``refractory / λ`` steps, λ being the new value: 1/λ is the time scale on which L2 acts.

    All methods are pure and work under ``jax.jit``, ``jax.lax.scan`` and ``jax.vmap``; an instance is static
    (hashable, a pytree without leaves), so it may be closed over or passed through ``jax.jit``. Fields given as
    NumPy or JAX scalars become Python numbers. A traced field is kept as it is, unchecked: such an instance can be
    used where it was made, but is neither hashable nor static.

    A measurement that is not finite counts as being above the minimum: two diverged measurements in a row
    lower λ.

    The printed algorithm compares ``error`` with itself where the minimum is meant; this is the corrected
    rule. Neither ``init_l2`` nor the refractory time knows the learning rate η, while a step of SGD shrinks
    the weights by the factor 1 − ηλ: lower ``init_l2`` when η is large.

    Args:
        init_l2: coefficient λ at the start, > 0. The loss is ``L + λ/2 · ‖θ‖²``.
        decay: factor applied to λ, between 0 and 1, exclusive.
        every: number of steps between measurements, ≥ 1 (the paper says 10 in supplement A, 5 in supplement
            E). :meth:`update` is to be called at steps ``every``, ``2·every``, …; it does not count itself.
        refractory: length of the pause after a decay in units of 1/λ steps, ≥ 0.

    Raises:
        ValueError: a field is out of its range.

    Examples:
        >>> rule = AutoL2(every=10)
        >>> state = rule.init()
        >>> for step, loss in [(10, 2.0), (20, 1.0), (30, 1.5), (40, 1.6)]:
        ...     state = rule.update(state, step, loss=loss, error=0.5)
        ...     print(step, round(float(state.l2), 4))
        10 0.1
        20 0.1
        30 0.1
        40 0.01

    References:
        Lewkowycz, Gur-Ari, `On the training dynamics of deep networks with L2 regularization
        <https://arxiv.org/abs/2006.08643>`_, 2020, supplement E.
    """

    init_l2: float = 0.1
    decay: float = 0.1
    every: int = 10
    refractory: float = 0.1

    def __post_init__(self) -> None:
        for name, (check, valid, needs) in _FIELDS.items():
            value = getattr(self, name)
            if not isinstance(value, jax.core.Tracer):
                object.__setattr__(self, name, check(name, value, valid, needs))

    def init(self, l2: jax.typing.ArrayLike | None = None) -> AutoL2State:
        """Return the state before the first measurement.

        Args:
            l2: coefficient to start from, scalar, possibly traced: runs with different λ₀ share one compiled program.
                None takes ``init_l2``.
        """
        missing = jnp.full((), _MISSING, jnp.float32)
        zero = jnp.zeros((), jnp.int32)
        return AutoL2State(
            l2=jnp.asarray(self.init_l2 if l2 is None else l2, jnp.float32),
            min_step=zero,
            min_loss=missing,
            min_error=missing,
            previous_loss=missing,
            previous_error=missing,
            measurements=zero,
        )

    def update(
        self,
        state: AutoL2State,
        step: jax.typing.ArrayLike,
        loss: jax.typing.ArrayLike,
        error: jax.typing.ArrayLike,
    ) -> AutoL2State:
        """Take one measurement; ``l2`` of the returned state is the coefficient for the steps to come.

        Args:
            state: state after the previous measurement.
            step: number of weight updates made so far, integer scalar.
            loss: training loss at this step *without* the L2 term, scalar.
            error: training error (1 − accuracy) at this step, scalar. Without an error, as in regression,
                pass the loss twice.

        Returns:
            The new state. Fields may also be arrays of one shape if ``state`` holds arrays of that shape.
        """
        step = jnp.asarray(step).astype(jnp.int32)
        loss = _finite_or_missing(loss)
        error = _finite_or_missing(error)
        measured_before = state.measurements > 0

        def increases(now: jax.Array, before: jax.Array, minimum: jax.Array) -> jax.Array:
            above = (now > minimum) | (now >= _MISSING)
            above_before = (before > minimum) | (before >= _MISSING)
            return above & above_before & measured_before

        worse = increases(loss, state.previous_loss, state.min_loss) | increases(
            error, state.previous_error, state.min_error
        )
        decays = worse & (step > state.min_step)
        lowered = state.l2 * jnp.float32(self.decay)
        return AutoL2State(
            l2=jnp.where(decays, lowered, state.l2),
            min_step=jnp.where(decays, self._end_of_pause(step, lowered), state.min_step),
            min_loss=jnp.where(decays, state.min_loss, jnp.minimum(state.min_loss, state.previous_loss)),
            min_error=jnp.where(decays, state.min_error, jnp.minimum(state.min_error, state.previous_error)),
            previous_loss=loss,
            previous_error=error,
            measurements=state.measurements + 1,
        )

    def _end_of_pause(self, step: jax.Array, l2: jax.Array) -> jax.Array:
        refractory = jnp.float32(self.refractory)
        # Keeps the quotient finite when λ has underflown, and lets it still outlast every step counter.
        divisor = jnp.maximum(l2, jnp.maximum(refractory / _BEYOND_LAST_STEP, _SMALLEST))
        pause = jnp.floor(refractory / divisor * jnp.float32(_ROUNDING_SLACK))
        # Saturate before the cast: with λ below 1e-10 the pause outlasts every int32 step counter.
        fits = pause < (_LAST_STEP - step).astype(jnp.float32)
        return jnp.where(fits, step + jnp.where(fits, pause, 0).astype(jnp.int32), _LAST_STEP)


def _finite_or_missing(value: jax.typing.ArrayLike) -> jax.Array:
    value = jnp.asarray(value).astype(jnp.float32)
    return jnp.where(jnp.isfinite(value), value, _MISSING)
