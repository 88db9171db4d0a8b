"""AutoL2: decay the L2 coefficient whenever training stops getting better (supplement E, Algorithm 1).

:class:`AutoL2` is the rule, for any training loop: numbers in, numbers out, and JAX only where arrays of JAX come in.
:mod:`l2dynamics.autol2_optax` has it for an optax chain, :mod:`l2dynamics.torch` for a PyTorch optimizer.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from l2dynamics.arguments import real, whole

if TYPE_CHECKING:
    import jax

# A refractory period is a whole number of steps, which rounding must not shorten: in float32 0.1 / 0.01 is 9.9999.
_ROUNDING_SLACK = 1 + 2e-6
_LAST_STEP = 2**31 - 1
# Stands for "not measured" and "not finite": the largest float32, since an infinity in the state would stop every
# program under jax.debug_infs, and no loss comes near it.
_MISSING = (2 - 2**-23) * 2.0**127

# What AutoL2.for_training aims at, in units of t · η/(1 − momentum) · λ, t in steps: with the coefficient of the start
# the accuracy would be best after half of the training, t* being at about 1 in this unit; a pause is as long as in the
# paper's Wide ResNet, 0.1/λ steps at η = 0.2 and momentum 0.9. A start that is best after a twentieth shrinks the
# weights of small networks faster than they learn: docs/library.md has what both starts lose.
_TRAINING_SHARE = 0.5
_PAUSE = 0.2

_FIELDS: dict[str, tuple[Callable[..., float], Callable[[float], bool], str]] = {
    "init_l2": (real, lambda value: value > 0, "it must be a positive number, such as 0.1"),
    "decay": (real, lambda value: 0 < value < 1, "it must lie between 0 and 1, such as 0.1"),
    "every": (whole, lambda value: value >= 1, "it must be a whole number of steps, at least 1"),
    "refractory": (real, lambda value: value >= 0, "it must be zero or a positive number, such as 0.1"),
    "smoothing": (real, lambda value: 0 <= value < 1, "it must lie between 0 and 1, such as 0.5"),
}


class AutoL2State(NamedTuple):
    """State of :class:`AutoL2`: numbers, or JAX arrays, scalar or of one shape when many runs are batched."""

    l2: "float | jax.Array"  # float32: the coefficient in force now
    min_step: "int | jax.Array"  # int32: no decay at or before this step
    min_loss: "float | jax.Array"  # float32, the largest float32 until two measurements were made
    min_error: "float | jax.Array"  # float32, as min_loss
    previous_loss: (
        "float | jax.Array"  # float32, the largest one before the first measurement, for a non-finite one
    )
    previous_error: "float | jax.Array"  # float32, as previous_loss
    measurements: "int | jax.Array"  # int32: how many were made


@dataclass(frozen=True)
class AutoL2:
    """The AutoL2 rule of Algorithm 1 (supplement E), without an optimizer.

    Start with a large coefficient λ and multiply it by ``decay`` as soon as the loss (without the L2 term) or
    the error on the training data is above its minimum in two measurements in a row. Then leave λ alone for
    ``refractory / λ`` steps, λ being the new value: 1/λ is the time scale on which L2 acts.

    All methods are pure. With Python or NumPy numbers they give Python numbers and never import JAX; with JAX arrays
    they give JAX arrays and work under ``jax.jit``, ``jax.lax.scan`` and ``jax.vmap``. An instance is static for JAX
    (hashable, a pytree without leaves), so it may be closed over or passed through ``jax.jit``. Fields given as
    NumPy or JAX scalars become Python numbers. A traced field is kept as it is, unchecked: such an instance can be
    used where it was made, but is neither hashable nor static.

    A measurement that is not finite counts as being above the minimum: two diverged measurements in a row
    lower λ.

    The printed algorithm compares ``error`` with itself where the minimum is meant; this is the corrected
    rule. Neither ``init_l2`` nor the refractory time knows the learning rate η, while a step of SGD shrinks
    the weights by the factor 1 − ηλ: :meth:`for_training` sets both from η, the momentum and the number of steps.

    Args:
        init_l2: coefficient λ at the start, > 0. The loss is ``L + λ/2 · ‖θ‖²``.
        decay: factor applied to λ, between 0 and 1, exclusive.
        every: number of steps between measurements, ≥ 1 (the paper says 10 in supplement A, 5 in supplement
            E). :meth:`update` is to be called at steps ``every``, ``2·every``, …; it does not count itself.
        refractory: length of the pause after a decay in units of 1/λ steps, ≥ 0.
        smoothing: weight of the previous value in a running mean of the measurements, 0 ≤ smoothing < 1. The printed
            algorithm has none (0); on the loss of single minibatches a mean keeps noise from lowering λ.

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
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        _make_static()
        for name, (check, valid, needs) in _FIELDS.items():
            value = getattr(self, name)
            if not _is_traced(value):
                object.__setattr__(self, name, check(name, value, valid, needs))

    @classmethod
    def for_training(
        cls,
        learning_rate: float,
        momentum: float = 0.0,
        steps: int = 10_000,
        *,
        every: int | None = None,
        smoothing: float = 0.5,
    ) -> "AutoL2":
        """Return the rule with λ₀ and pause for one's own training, instead of those of the paper's Wide ResNet.

        Time is measured in ``t · η_eff · λ`` with ``η_eff = η/(1 − momentum)``, in which the accuracy of SGD is best
        at about 1 whatever the network: λ₀ is the coefficient that would be best after half of the training, and a
        pause is as long in this unit as in the paper (figure 1c), so that after a first decay there is time for no
        second one. Not Algorithm 1 as printed: our own extension.

        Args:
            learning_rate: η at the start of the training, > 0. For AdamW, whose decay is not divided by the gradient's
                size, its learning rate, with ``momentum=0``.
            momentum: heavy-ball momentum, 0 ≤ momentum < 1.
            steps: length of the training in weight updates, ≥ 1.
            every: steps between measurements; None: a hundredth of the training, at most 10.
            smoothing: see :class:`AutoL2`.

        Raises:
            ValueError: an argument is out of its range.

        Examples:
            >>> rule = AutoL2.for_training(learning_rate=0.1, momentum=0.9, steps=2000)
            >>> round(rule.init_l2, 6), round(rule.refractory, 6), rule.every
            (0.001, 0.2, 10)
        """
        rate = effective_rate(learning_rate, momentum)
        steps = whole("steps", steps, lambda value: value >= 1, "it must be a whole number of weight updates")
        return cls(
            init_l2=1 / (_TRAINING_SHARE * rate * steps),
            every=max(1, min(10, steps // 100)) if every is None else every,
            refractory=_PAUSE / rate,
            smoothing=smoothing,
        )

    def init(self, l2: "jax.typing.ArrayLike | None" = None) -> AutoL2State:
        """Return the state before the first measurement.

        Args:
            l2: coefficient to start from, scalar, possibly traced: runs with different λ₀ share one compiled program.
                None takes ``init_l2``.
        """
        start = self.init_l2 if l2 is None else l2
        if _is_array(start):
            from l2dynamics import autol2_arrays

            return autol2_arrays.init(AutoL2State, start)
        return AutoL2State(float(start), 0, _MISSING, _MISSING, _MISSING, _MISSING, 0)  # type: ignore[arg-type]

    def update(
        self,
        state: AutoL2State,
        step: "jax.typing.ArrayLike",
        loss: "jax.typing.ArrayLike",
        error: "jax.typing.ArrayLike",
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
        numbers = (*state, step, loss, error, self.decay, self.refractory, self.smoothing)
        if any(map(_is_array, numbers)):
            from l2dynamics import autol2_arrays

            return autol2_arrays.update(
                state,
                step,
                loss,
                error,
                decay=self.decay,
                refractory=self.refractory,
                smoothing=self.smoothing,
                slack=_ROUNDING_SLACK,
            )
        return self._updated(state, int(step), float(loss), float(error))  # type: ignore[arg-type]

    def _updated(self, state: Any, step: int, loss: float, error: float) -> AutoL2State:
        loss = self._smoothed(loss, state.previous_loss)
        error = self._smoothed(error, state.previous_error)

        def increases(now: float, before: float, minimum: float) -> bool:
            return min(now, before) > minimum or min(now, before) >= _MISSING

        worse = state.measurements > 0 and (
            increases(loss, state.previous_loss, state.min_loss)
            or increases(error, state.previous_error, state.min_error)
        )
        seen = {"previous_loss": loss, "previous_error": error, "measurements": state.measurements + 1}
        if worse and step > state.min_step:
            l2 = state.l2 * self.decay
            pause = self.refractory / l2 * _ROUNDING_SLACK if l2 > 0 else math.inf * self.refractory
            end = step + math.floor(pause) if pause < _LAST_STEP - step else _LAST_STEP
            return state._replace(l2=l2, min_step=end, **seen)
        return state._replace(
            min_loss=min(state.min_loss, state.previous_loss),
            min_error=min(state.min_error, state.previous_error),
            **seen,
        )

    def _smoothed(self, value: float, previous: float) -> float:
        if not math.isfinite(value):
            return _MISSING
        return value if previous >= _MISSING else value + self.smoothing * (previous - value)


def effective_rate(learning_rate: Any, momentum: Any) -> float:
    """Return ``η_eff = η/(1 − momentum)``, the rate at which L2 shrinks weights under heavy-ball momentum.

    Raises:
        ValueError: ``learning_rate`` is not positive or ``momentum`` not in [0, 1).
    """
    rate = real(
        "learning_rate", learning_rate, lambda value: value > 0, "it must be a positive number, such as 0.1"
    )
    return rate / (
        1 - real("momentum", momentum, lambda value: 0 <= value < 1, "it must lie in [0, 1), such as 0.9")
    )


def _is_array(value: Any) -> bool:
    """Whether a value is JAX's, traced or not; before JAX is imported none is."""
    return "jax" in sys.modules and isinstance(value, sys.modules["jax"].Array)


def _is_traced(value: Any) -> bool:
    return "jax" in sys.modules and isinstance(value, sys.modules["jax"].core.Tracer)


_static = False


def _make_static() -> None:
    """Register the rule with JAX as a pytree without leaves, once JAX is there."""
    global _static
    if not _static and "jax" in sys.modules:
        sys.modules["jax"].tree_util.register_static(AutoL2)
        _static = True
