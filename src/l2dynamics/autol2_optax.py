"""AutoL2 in an optax chain: :func:`auto_l2`, the rule of :class:`l2dynamics.AutoL2` as a gradient transformation.

The coefficient of a chain is read by :func:`current_l2`; with accumulated gradients :func:`mean_measurements` goes
around it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from l2dynamics import autol2_arrays
from l2dynamics.arguments import whole
from l2dynamics.autol2 import AutoL2, AutoL2State

_LAST_STEP = jnp.iinfo(jnp.int32).max


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
    smoothing: float | jax.Array = 0.0,
    rule: AutoL2 | None = None,
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
        smoothing: see :class:`AutoL2`.
        rule: the rule as a whole, in place of the arguments before it, such as ``AutoL2.for_training(…)``.
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
        "smoothing": smoothing,
    }
    rule = AutoL2(**hyperparameters) if rule is None else rule

    def init_fn(params: optax.Params) -> AutoL2TransformState:
        del params
        return AutoL2TransformState(
            step=jnp.zeros((), jnp.int32), auto=autol2_arrays.init(AutoL2State, rule.init_l2)
        )

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
