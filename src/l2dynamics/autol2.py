"""AutoL2: decay the L2 coefficient whenever training stops getting better (supplement E, Algorithm 1).

Two forms of one rule: :class:`AutoL2` for any training loop, :func:`auto_l2` for an optax chain. The coefficient of a
chain is read by :func:`current_l2`; with accumulated gradients :func:`mean_measurements` goes around it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

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


class AutoL2TransformState(NamedTuple):
    """State of :func:`auto_l2`."""

    step: jax.Array  # int32: weight updates made so far
    auto: AutoL2State


def auto_l2(
    init_l2: float | jax.Array = 0.1,
    decay: float | jax.Array = 0.1,
    every: int | np.integer | jax.Array = 10,
    refractory: float | jax.Array = 0.1,
    *,
    mask: Any | Callable[[optax.Params], Any] | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Add ``λθ`` to the gradients, with λ set by :class:`AutoL2`.

    Where it stands in the chain decides what it does, η being the learning rate:

    - *before* momentum and scaling, ``optax.chain(auto_l2(), optax.sgd(η, momentum=0.9))``: the L2 term is part of the
      loss and its gradient goes through momentum. This is the paper's method.
    - between momentum or Adam's scaling and the learning rate, ``optax.chain(optax.scale_by_adam(), auto_l2(),
      optax.scale_by_learning_rate(η))``: decoupled weight decay as in AdamW, which the paper does not treat.
    - behind a whole optimizer, ``optax.chain(optax.sgd(η), auto_l2())``: wrong. The updates are ``−η`` times the
      gradient there, so ``λθ`` has the wrong sign and lacks η; the weights grow until they overflow. A transformation
      cannot see its place, so nothing warns.

    Pass the minibatch's loss and error, or those of any fixed training subset, to every ``update``; only those of
    every ``every``-th step are used. Those values belong to the parameters *before* the update, hence the call after
    t updates is Algorithm 1's measurement at step t. The coefficient in force is :func:`current_l2` of the state.

    With gradients accumulated by ``optax.MultiSteps`` put ``auto_l2`` inside, where a step is a weight update, and
    :func:`mean_measurements` around it: ``MultiSteps`` alone hands on the loss and error of the last microbatch only.

    ``optax.inject_hyperparams(auto_l2)`` works, schedules included; a change of ``init_l2`` after ``init`` has no
    effect. Give it ``static_args="mask"`` if ``mask`` is a function, and ``hyperparam_dtype=jnp.float32`` if the
    parameters have half precision, which it would round the hyperparameters to.

    Args:
        init_l2: see :class:`AutoL2`. Any of the first four may be traced, and is then not checked.
        decay: see :class:`AutoL2`.
        every: see :class:`AutoL2`.
        refractory: see :class:`AutoL2`.
        mask: which parameters get the L2 term: a pytree of bools with the structure of the parameters or a
            prefix of it, or a function from parameters to such a pytree. Default: all of them, as in the
            paper. Parameters that are no floating-point or complex numbers, such as counters, never get it.

    Returns:
        A transformation whose ``update`` takes ``(grads, state, params, loss=…, error=…)``; ``loss`` without
        the L2 term and ``error`` = 1 − accuracy are scalars. A non-finite value counts as an increase. If
        data is split over devices by hand (``shard_map``, ``pmap``), average both over the devices first.

    Raises:
        ValueError: an argument is out of its range; at update: ``params``, ``loss`` or ``error`` is missing
            or not a scalar.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> from l2dynamics import current_l2
        >>> tx = optax.chain(auto_l2(), optax.sgd(0.1, momentum=0.9))
        >>> params = {"w": jnp.ones(3)}
        >>> state = tx.init(params)
        >>> loss, grads = jax.value_and_grad(lambda p: jnp.sum(p["w"] ** 2))(params)
        >>> updates, state = tx.update(grads, state, params, loss=loss, error=0.9)
        >>> params = optax.apply_updates(params, updates)
        >>> round(float(current_l2(state)), 3)
        0.1

    References:
        Lewkowycz, Gur-Ari, `On the training dynamics of deep networks with L2 regularization
        <https://arxiv.org/abs/2006.08643>`_, 2020, supplement E.
    """
    hyperparameters: dict[str, Any] = {
        "init_l2": init_l2,
        "decay": decay,
        "every": every,
        "refractory": refractory,
    }
    rule = AutoL2(**hyperparameters)

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
        loss, error = _scalar("auto_l2", "loss", loss), _scalar("auto_l2", "error", error)
        measured = rule.update(state.auto, state.step, loss, error)
        due = (state.step > 0) & (state.step % rule.every == 0)
        auto = jax.tree.map(lambda new, old: jnp.where(due, new, old), measured, state.auto)
        step = jnp.minimum(state.step, _LAST_STEP - 1) + 1
        return _add_l2(updates, params, auto.l2, mask), AutoL2TransformState(step=step, auto=auto)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def current_l2(opt_state: Any, index: int | None = None) -> jax.Array:
    """Return the coefficient λ that :func:`auto_l2` has in force, for a log or a plot.

    Args:
        opt_state: state of an optimizer with :func:`auto_l2` anywhere in it: in ``optax.chain``, ``masked``,
            ``partition``, ``inject_hyperparams``, ``MultiSteps``, ``apply_if_finite`` and so on. May be traced.
        index: which one, if there are several, in the order of ``jax.tree.leaves(opt_state)``: as in the chain, and
            by the labels in alphabetical order in ``optax.partition``.

    Returns:
        λ, float32, of shape ``[]``, or of the batch's shape if the state is batched (``jax.vmap``).

    Raises:
        ValueError: there is no state of :func:`auto_l2`, or none of that index, or there are several and ``index`` is
            not given.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from l2dynamics import auto_l2
        >>> state = optax.chain(auto_l2(0.03), optax.sgd(0.1)).init({"l2": jnp.ones(3)})
        >>> round(float(current_l2(state)), 3)
        0.03
    """

    def found_in(tree: Any) -> bool:
        return isinstance(tree, AutoL2TransformState)

    found = [leaf for leaf in jax.tree.leaves(opt_state, is_leaf=found_in) if found_in(leaf)]
    if not found:
        raise ValueError(
            "opt_state holds no state of auto_l2: pass what tx.init or tx.update returned, with auto_l2 in tx"
        )
    if index is None and len(found) > 1:
        raise ValueError(
            f"opt_state holds {len(found)} states of auto_l2: say which, as in current_l2(opt_state, index=0)"
        )
    chosen = (
        0
        if index is None
        else whole("index", index, lambda value: value >= 0, "it must be a whole number, such as 0")
    )
    if chosen >= len(found):
        raise ValueError(f"index is {chosen}: opt_state holds {len(found)} states of auto_l2, counted from 0")
    return jnp.asarray(found[chosen].auto.l2)


class MeanMeasurementsState(NamedTuple):
    """State of :func:`mean_measurements`."""

    loss: jax.Array  # float32: sum over the microbatches of the group so far
    error: jax.Array  # float32, as loss
    multi_steps: optax.MultiStepsState


def mean_measurements(multi_steps: optax.MultiSteps) -> optax.GradientTransformationExtraArgs:
    """Let :func:`auto_l2` inside ``optax.MultiSteps`` measure on all microbatches of a weight update.

    ``MultiSteps`` averages the gradients of a group of microbatches, but hands the loss and the error of the last
    one to the optimizer. With this wrapper the optimizer gets their means over the group: those of the whole batch, if
    the microbatches are of one size. Microbatches that ``MultiSteps`` skips do not count.

    Args:
        multi_steps: ``optax.MultiSteps(tx, every_k_schedule, …)`` with :func:`auto_l2` in ``tx``. ``every`` of
            :func:`auto_l2` counts weight updates, not microbatches.

    Returns:
        A transformation whose ``update`` takes ``(grads, state, params, loss=…, error=…)`` of one microbatch, both
        scalars.

    Raises:
        ValueError: at init: ``multi_steps`` is something else; at update: ``loss`` or ``error`` is missing or not a
            scalar.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from l2dynamics import auto_l2, current_l2
        >>> tx = optax.chain(auto_l2(), optax.sgd(0.1, momentum=0.9))
        >>> tx = mean_measurements(optax.MultiSteps(tx, every_k_schedule=4))
        >>> state = tx.init(jnp.ones(3))
        >>> round(float(current_l2(state)), 3)
        0.1
    """

    def init_fn(params: optax.Params) -> MeanMeasurementsState:
        state = multi_steps.init(params)
        if not isinstance(state, optax.MultiStepsState):
            raise ValueError(
                "mean_measurements needs optax.MultiSteps: mean_measurements(optax.MultiSteps(tx, every_k_schedule=4))"
            )
        zero = jnp.zeros((), jnp.float32)
        return MeanMeasurementsState(loss=zero, error=zero, multi_steps=state)

    def update_fn(
        updates: optax.Updates,
        state: MeanMeasurementsState,
        params: optax.Params | None = None,
        *,
        loss: jax.typing.ArrayLike | None = None,
        error: jax.typing.ArrayLike | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, MeanMeasurementsState]:
        before = state.multi_steps.mini_step

        def summed(name: str, value: jax.typing.ArrayLike | None, total: jax.Array) -> jax.Array:
            value = jnp.asarray(_scalar("mean_measurements", name, value)).astype(jnp.float32)
            return jnp.where(before == 0, value, total + value)

        loss_sum, error_sum = summed("loss", loss, state.loss), summed("error", error, state.error)
        seen = (before + 1).astype(jnp.float32)
        updates, inner = multi_steps.update(
            updates, state.multi_steps, params, loss=loss_sum / seen, error=error_sum / seen, **extra_args
        )
        counted = inner.mini_step != before
        return updates, MeanMeasurementsState(
            loss=jnp.where(counted, loss_sum, state.loss),
            error=jnp.where(counted, error_sum, state.error),
            multi_steps=inner,
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _scalar(caller: str, name: str, value: jax.typing.ArrayLike | None) -> jax.typing.ArrayLike:
    if value is None or jnp.shape(value) != ():
        found = "missing" if value is None else f"of shape {jnp.shape(value)}"
        raise ValueError(
            f"{caller}: {name} is {found}: pass one scalar, as in tx.update(…, loss=loss, error=1 - accuracy)"
        )
    return value


def _add_l2(updates: Any, params: Any, l2: jax.Array, mask: Any) -> Any:
    """Return ``updates + l2 · params`` where ``mask`` is true, in the dtype of the updates."""

    def add(gradient: jax.Array | None, parameter: jax.Array) -> jax.Array | None:
        if gradient is None:
            return None
        of_gradient, of_parameter = jnp.result_type(gradient), jnp.result_type(parameter)
        if of_gradient == jax.dtypes.float0 or not jnp.issubdtype(of_parameter, jnp.inexact):
            return gradient
        # λ = 1e-4 times a bfloat16 weight has three digits; so half precision is widened for this one sum.
        wide = of_parameter if jnp.finfo(of_parameter).bits >= 32 else jnp.float32
        total = jnp.asarray(gradient).astype(wide) + l2.astype(wide) * jnp.asarray(parameter).astype(wide)
        return total.astype(of_gradient if jnp.issubdtype(of_gradient, jnp.inexact) else of_parameter)

    def add_tree(gradients: Any, parameters: Any) -> Any:
        return jax.tree.map(add, gradients, parameters, is_leaf=lambda leaf: leaf is None)

    if mask is None:
        return add_tree(updates, params)
    chosen = mask(params) if callable(mask) else mask
    return jax.tree.map(lambda take, g, p: add_tree(g, p) if take else g, chosen, updates, params)
