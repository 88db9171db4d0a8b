"""AutoL2: decay the L2 coefficient whenever training stops getting better (supplement E, Algorithm 1).

Two forms of one rule: :class:`AutoL2` for any training loop, :func:`auto_l2` for an optax chain.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

# A refractory period is a whole number of steps. Without this slack, float32 rounding would turn 0.1 / 0.01
# into 9.9999 and let a decay happen one step early.
_ROUNDING_SLACK = 1 + 2e-6
_LAST_STEP = jnp.iinfo(jnp.int32).max


class AutoL2State(NamedTuple):
    """State of :class:`AutoL2`: a pytree of scalars, or of arrays of one shape when many runs are batched."""

    l2: jax.Array  # float32: the coefficient in force now
    min_step: jax.Array  # int32: no decay at or before this step
    min_loss: jax.Array  # float32, inf until two measurements were made
    min_error: jax.Array  # float32, as min_loss
    previous_loss: jax.Array  # float32, inf before the first measurement and for a non-finite one
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
    (hashable, a pytree without leaves), so it may be closed over or passed through ``jax.jit``.

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
        if not (math.isfinite(self.init_l2) and self.init_l2 > 0):
            raise ValueError(f"init_l2 is {self.init_l2}: it must be a positive number, such as 0.1")
        if not 0 < self.decay < 1:
            raise ValueError(f"decay is {self.decay}: it must lie between 0 and 1, such as 0.1")
        if isinstance(self.every, bool) or not isinstance(self.every, int) or self.every < 1:
            raise ValueError(f"every is {self.every}: it must be a whole number of steps, at least 1")
        if not (math.isfinite(self.refractory) and self.refractory >= 0):
            raise ValueError(
                f"refractory is {self.refractory}: it must be zero or a positive number, such as 0.1"
            )

    def init(self, l2: jax.typing.ArrayLike | None = None) -> AutoL2State:
        """Return the state before the first measurement.

        Args:
            l2: coefficient to start from, scalar, possibly traced: runs with different λ₀ share one compiled program.
                None takes ``init_l2``.
        """
        infinity = jnp.full((), jnp.inf, jnp.float32)
        zero = jnp.zeros((), jnp.int32)
        return AutoL2State(
            l2=jnp.asarray(self.init_l2 if l2 is None else l2, jnp.float32),
            min_step=zero,
            min_loss=infinity,
            min_error=infinity,
            previous_loss=infinity,
            previous_error=infinity,
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
        loss = _finite_or_inf(loss)
        error = _finite_or_inf(error)
        measured_before = state.measurements > 0

        def increases(now: jax.Array, before: jax.Array, minimum: jax.Array) -> jax.Array:
            above = (now > minimum) | jnp.isinf(now)
            above_before = (before > minimum) | jnp.isinf(before)
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
        pause = jnp.floor(jnp.float32(self.refractory) / l2 * jnp.float32(_ROUNDING_SLACK))
        # Saturate before the cast: with λ below 1e-10 the pause outlasts every int32 step counter.
        fits = pause < (_LAST_STEP - step).astype(jnp.float32)
        return jnp.where(fits, step + jnp.where(fits, pause, 0).astype(jnp.int32), _LAST_STEP)


def _finite_or_inf(value: jax.typing.ArrayLike) -> jax.Array:
    value = jnp.asarray(value).astype(jnp.float32)
    return jnp.where(jnp.isfinite(value), value, jnp.inf)


def _scalar(name: str, value: jax.typing.ArrayLike | None) -> jax.typing.ArrayLike:
    if value is None or jnp.shape(value) != ():
        found = "missing" if value is None else f"of shape {jnp.shape(value)}"
        raise ValueError(
            f"auto_l2: {name} is {found}: pass one scalar, as in tx.update(…, loss=loss, error=1 - accuracy)"
        )
    return value


class AutoL2TransformState(NamedTuple):
    """State of :func:`auto_l2`."""

    step: jax.Array  # int32: weight updates made so far
    auto: AutoL2State


def auto_l2(
    init_l2: float = 0.1,
    decay: float = 0.1,
    every: int = 10,
    refractory: float = 0.1,
    *,
    mask: Any | Callable[[optax.Params], Any] | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Add ``λθ`` to the gradients, with λ set by :class:`AutoL2`.

    Put it *before* momentum in the chain: then the L2 term is part of the loss, as in the paper, and its
    gradient goes through momentum. (Behind momentum, or behind Adam, it would be decoupled weight decay, a
    different method.) Pass the minibatch's loss and error, or those of any fixed training subset, to every
    ``update``; only those of every ``every``-th step are used. Those values belong to the parameters *before*
    the update, hence the call after t updates is Algorithm 1's measurement at step t.

    The current coefficient is ``optax.tree.get(opt_state, "l2")``.

    Args:
        init_l2: see :class:`AutoL2`.
        decay: see :class:`AutoL2`.
        every: see :class:`AutoL2`.
        refractory: see :class:`AutoL2`.
        mask: which parameters get the L2 term: a pytree of bools with the structure of the parameters or a
            prefix of it, or a function from parameters to such a pytree. Default: all of them, as in the
            paper.

    Returns:
        A transformation whose ``update`` takes ``(grads, state, params, loss=…, error=…)``; ``loss`` without
        the L2 term and ``error`` = 1 − accuracy are scalars. A non-finite value counts as an increase. If
        data is split over devices by hand (``shard_map``, ``pmap``), average both over the devices first.

    Raises:
        ValueError: an argument is out of its range; at update: ``params``, ``loss`` or ``error`` is missing
        or not
            a scalar.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> tx = optax.chain(auto_l2(), optax.sgd(0.1, momentum=0.9))
        >>> params = {"w": jnp.ones(3)}
        >>> state = tx.init(params)
        >>> loss, grads = jax.value_and_grad(lambda p: jnp.sum(p["w"] ** 2))(params)
        >>> updates, state = tx.update(grads, state, params, loss=loss, error=0.9)
        >>> params = optax.apply_updates(params, updates)
        >>> round(float(optax.tree.get(state, "l2")), 3)
        0.1

    References:
        Lewkowycz, Gur-Ari, `On the training dynamics of deep networks with L2 regularization
        <https://arxiv.org/abs/2006.08643>`_, 2020, supplement E.
    """
    rule = AutoL2(init_l2=init_l2, decay=decay, every=every, refractory=refractory)

    def init_fn(params: optax.Params) -> AutoL2TransformState:
        del params
        return AutoL2TransformState(step=jnp.zeros((), jnp.int32), auto=rule.init())

    def update_fn(
        updates: optax.Updates,
        state: AutoL2TransformState,
        params: optax.Params | None = None,
        *,
        loss: jax.typing.ArrayLike | None = None,
        error: jax.typing.ArrayLike | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, AutoL2TransformState]:
        del extra_args
        if params is None:
            raise ValueError(
                "auto_l2 needs the parameters: call tx.update(grads, state, params, loss=…, error=…)"
            )
        loss, error = _scalar("loss", loss), _scalar("error", error)
        measured = rule.update(state.auto, state.step, loss, error)
        due = (state.step > 0) & (state.step % rule.every == 0)
        auto = jax.tree.map(lambda new, old: jnp.where(due, new, old), measured, state.auto)
        step = jnp.minimum(state.step, _LAST_STEP - 1) + 1
        return _add_l2(updates, params, auto.l2, mask), AutoL2TransformState(step=step, auto=auto)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _add_l2(updates: Any, params: Any, l2: jax.Array, mask: Any) -> Any:
    """Return ``updates + l2 · params`` where ``mask`` is true, in the dtype of the updates."""

    def add(gradient: jax.Array | None, parameter: jax.Array) -> jax.Array | None:
        if gradient is None:
            return None
        # λ = 1e-4 times a bfloat16 weight has three digits; so half precision is widened for this one sum.
        wide = parameter.dtype if jnp.finfo(parameter.dtype).bits >= 32 else jnp.float32
        return (gradient.astype(wide) + l2.astype(wide) * parameter.astype(wide)).astype(gradient.dtype)

    def add_tree(gradients: Any, parameters: Any) -> Any:
        return jax.tree.map(add, gradients, parameters, is_leaf=lambda leaf: leaf is None)

    if mask is None:
        return add_tree(updates, params)
    chosen = mask(params) if callable(mask) else mask
    return jax.tree.map(lambda take, g, p: add_tree(g, p) if take else g, chosen, updates, params)
