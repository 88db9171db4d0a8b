"""PyTorch: AutoL2 for any optimizer, and a training that :func:`l2dynamics.suggest_l2` can start.

What ``weight_decay`` of an optimizer is, λ being the coefficient of ``L + λ/2 · ‖θ‖²``:

- ``SGD``: λ itself. The term λθ is added to the gradient, before momentum.
- ``AdamW`` and other decoupled ones: every step multiplies the weights by 1 − ηλ, as SGD does, but the gradient of the
  loss is divided by its size. The paper does not treat it. In one network the best λ was found to fall more slowly than
  1/(ηT) (docs/beyond.md), so that :func:`l2dynamics.suggest_l2` is never sure there.
- ``Adam``: λθ is divided by the size of the gradient as well. Times do not go with 1/λ: prefer AdamW.
"""

import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch

from l2dynamics.arguments import real, whole
from l2dynamics.autol2 import AutoL2 as Rule
from l2dynamics.suggestion.runs import Run

_DECOUPLED = ("AdamW", "Adafactor", "Muon")
_ADAPTIVE = ("Adam", "RMSprop", "Adagrad", "NAdam", "RAdam", "Adamax", "Adadelta")


def set_l2(optimizer: torch.optim.Optimizer, l2: float, groups: Iterable[int] | None = None) -> None:
    """Set ``weight_decay`` of an optimizer's parameter groups.

    Args:
        optimizer: one whose groups have a ``weight_decay``.
        l2: coefficient λ ≥ 0, see the head of this module for what it means for each optimizer.
        groups: indices of the groups that get it; None: see :func:`decayed_groups`.

    Raises:
        ValueError: no group has a ``weight_decay``.
    """
    for index in decayed_groups(optimizer) if groups is None else groups:
        optimizer.param_groups[index]["weight_decay"] = float(l2)


def decayed_groups(optimizer: torch.optim.Optimizer) -> list[int]:
    """Return the indices of the parameter groups that L2 acts on.

    Those with a ``weight_decay`` above 0, or all of them if it is 0 everywhere: a group that was given 0 beside one
    that was not, such as biases and normalisation, keeps it.

    Raises:
        ValueError: no group has a ``weight_decay``.
    """
    known = [index for index, group in enumerate(optimizer.param_groups) if "weight_decay" in group]
    if not known:
        raise ValueError(
            f"optimizer: {type(optimizer).__name__} has no weight_decay; use one that has, such as torch.optim.SGD"
        )
    return [index for index in known if optimizer.param_groups[index]["weight_decay"] > 0] or known


class AutoL2:
    """AutoL2 for a PyTorch optimizer: sets ``weight_decay`` before every update (supplement E).

    Tell it the loss and the error of every batch, before ``optimizer.step()``; it counts the updates by itself::

        auto = AutoL2(optimizer, Rule.for_training(0.1, momentum=0.9, steps=2000))
        logits = model(x)
        loss = cross_entropy(logits, y)
        auto.measure(loss, error=(logits.argmax(-1) != y).float().mean())
        loss.backward()
        optimizer.step()

    With accumulated gradients call :meth:`measure` for every microbatch: the rule sees their mean. An update that a
    ``GradScaler`` skips does not count. Measurements are fetched from the device only when the rule is due.

    Args:
        optimizer: its groups' ``weight_decay`` is overwritten, see :func:`decayed_groups` for which.
        rule: :class:`l2dynamics.AutoL2`; None takes :meth:`~l2dynamics.AutoL2.for_training` with the optimizer's
            learning rate and momentum, for ``steps`` updates.
        steps: length of the training in weight updates, needed without a rule.
        groups: indices of the parameter groups that get the coefficient.
        hook: call :meth:`before_update` whenever the optimizer steps. False where the loss is computed inside the step,
            by a closure: call it yourself then, after the backward pass.

    Raises:
        ValueError: neither ``rule`` nor ``steps`` is given, or no group has a ``weight_decay``.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        rule: Rule | None = None,
        *,
        steps: int | None = None,
        groups: Iterable[int] | None = None,
        hook: bool = True,
    ):
        if rule is None:
            if steps is None:
                raise ValueError(
                    "steps is missing: give the length of the training in weight updates, or a rule"
                )
            rule = Rule.for_training(*rates(optimizer), steps)
        self.optimizer, self.rule = optimizer, rule
        self.groups = decayed_groups(optimizer) if groups is None else list(groups)
        self.state, self.updates = rule.init(), 0
        self._measured: list[tuple[Any, Any]] = []
        if hook:
            optimizer.register_step_pre_hook(lambda *_: self.before_update())
        set_l2(optimizer, self.l2, self.groups)

    @property
    def l2(self) -> float:
        """The coefficient λ in force."""
        return float(self.state.l2)

    def measure(self, loss: Any, error: Any = None) -> None:
        """Take note of one batch, before the update it leads to.

        Args:
            loss: training loss without an L2 term, scalar tensor or number.
            error: training error (1 − accuracy), scalar; None, as in regression: the loss.
        """
        error = loss if error is None else error
        loss, error = (value.detach() if torch.is_tensor(value) else value for value in (loss, error))
        self._measured.append((loss, error))

    def before_update(self) -> None:
        """Count an update, and set its coefficient from what was measured since the last one.

        Raises:
            ValueError: the rule is due and nothing was measured.
        """
        skipped = getattr(self.optimizer, "found_inf", None)  # of a GradScaler with a fused optimizer
        measured, self._measured = self._measured, []
        if skipped is not None and float(skipped) > 0:
            return
        if self.updates > 0 and self.updates % self.rule.every == 0:
            if not measured:
                raise ValueError(
                    "AutoL2 was told no loss: call auto.measure(loss, error) before optimizer.step()"
                )
            loss, error = _mean(measured)
            self.state = self.rule.update(self.state, self.updates, loss, error)
            set_l2(self.optimizer, self.l2, self.groups)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """Return what goes into a checkpoint, beside the optimizer's state."""
        return {"state": self.state._asdict(), "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; the coefficient is set again, whatever the optimizer was restored to."""
        self.state, self.updates = type(self.state)(**state["state"]), int(state["updates"])
        self._measured = []
        set_l2(self.optimizer, self.l2, self.groups)


def _mean(measured: list[tuple[Any, Any]]) -> tuple[float, float]:
    """Mean loss and error since the last update.

    Those up to one that is not finite are left out where finite ones follow: they led to an update that a
    ``GradScaler`` skipped, of which an optimizer that is not fused says nothing.
    """
    pairs = [(float(loss), float(error)) for loss, error in measured]
    broken = [place for place, pair in enumerate(pairs) if not all(map(math.isfinite, pair))]
    kept = pairs[broken[-1] + 1 :] if broken else pairs
    losses, errors = zip(*(kept or pairs), strict=True)
    return sum(losses) / len(losses), sum(errors) / len(errors)


def rates(optimizer: torch.optim.Optimizer) -> tuple[float, float]:
    """Return rate and momentum of the first group by which L2 shrinks the weights: by 1 − ηλ/(1 − μ) a step.

    Where a scheduler has lowered the rate it is the initial one. Decoupled weight decay (AdamW, Muon) and Adam's
    averages know no momentum in this sense, and ``dampening`` makes every gradient smaller.
    """
    group = optimizer.param_groups[0]
    rate, momentum = float(group.get("initial_lr", group["lr"])), float(group.get("momentum", 0.0))
    if _is_decoupled(optimizer):
        return rate, 0.0
    return rate * (1 - float(group.get("dampening", 0.0)) if momentum else 1.0), momentum


def make_run(
    model: Callable[[], torch.nn.Module],
    optimizer: Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer],
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    evaluate: Callable[[torch.nn.Module], Any],
    *,
    loss: Callable[[Any, Any], torch.Tensor] = torch.nn.functional.cross_entropy,
    evaluate_every: int = 10,
    steps_per_unit: float = 1,
    classes: int | None = None,
    decoupled: bool | None = None,
    device: torch.device | str | None = None,
) -> Run:
    """Build the ``make_run`` of :func:`l2dynamics.suggest_l2` from a model, an optimizer and data.

    Args:
        model: makes a fresh model; called after ``torch.manual_seed(seed)``, and once here, to see the optimizer.
        optimizer: makes the optimizer of a list of a model's parameters, at the learning rate of the start, which is
            kept constant. Its ``weight_decay`` is set to the coefficient, see :func:`decayed_groups`.
        batches: minibatches ``(inputs, targets)``, gone through again and again, such as a ``DataLoader``.
        evaluate: test accuracy of a model, a fraction, or the test loss if that is to be minimised; called in
            evaluation mode and without gradients.
        loss: training loss of outputs and targets, without an L2 term.
        evaluate_every: steps between evaluations, ≥ 1.
        steps_per_unit: weight updates in one unit of the budget: 1 if it is in steps, ``len(loader)`` if in epochs.
        classes: number of classes, to know the accuracy of guessing; None if unknown.
        decoupled: whether the optimizer's weight decay is decoupled; None: it is for AdamW and for others of PyTorch
            that have it.
        device: where model and batches are moved to; None leaves them where they are.

    Returns:
        ``make_run(l2, seed)``, whose runs go on for ever; it knows learning rate and momentum of the optimizer.

    Raises:
        ValueError: an argument is out of its range, the optimizer has no ``weight_decay``, or there is no batch.

    Warns:
        UserWarning: the optimizer divides the L2 term by the size of the gradient (Adam).
    """
    every = whole("evaluate_every", evaluate_every, lambda value: value >= 1, "it must be at least 1 step")
    unit = real("steps_per_unit", steps_per_unit, lambda value: value > 0, "it must be positive, such as 1")
    with torch.random.fork_rng():
        example = optimizer(list(model().parameters()))
    decayed_groups(example)
    rate, momentum = rates(example)
    if type(example).__name__ in _ADAPTIVE and not _is_decoupled(example):
        warnings.warn(
            f"{type(example).__name__} divides the L2 term by the size of the gradient, so that times do not go with "
            "1/l2: use AdamW, or tune",
            stacklevel=2,
        )

    def run(l2: float, seed: int) -> Iterator[tuple[float, float]]:
        torch.manual_seed(seed)
        built = model() if device is None else model().to(device)
        made = optimizer(list(built.parameters()))
        set_l2(made, l2)
        built.train()
        for step, (inputs, targets) in enumerate(_endless(batches), start=1):
            made.zero_grad(set_to_none=True)
            inputs, targets = (inputs, targets) if device is None else (inputs.to(device), targets.to(device))
            loss(built(inputs), targets).backward()
            made.step()
            if step % every == 0:
                built.eval()
                with torch.no_grad():
                    value = float(evaluate(built))
                built.train()
                yield step / unit, value

    return Run(
        run,
        learning_rate=rate,
        momentum=momentum,
        steps_per_unit=unit,
        classes=classes,
        decoupled=_is_decoupled(example) if decoupled is None else decoupled,
    )


def _is_decoupled(optimizer: torch.optim.Optimizer) -> bool:
    # Not all say so in their groups: AdamW does from PyTorch 2.7 on.
    named = any(kind.__name__ in _DECOUPLED for kind in type(optimizer).__mro__)
    return named or bool(optimizer.param_groups[0].get("decoupled_weight_decay"))


def _endless(batches: Iterable[Any]) -> Iterator[Any]:
    for _ in itertools.count():
        found = False
        for batch in batches:
            found = True
            yield batch
        if not found:
            raise ValueError(
                "batches gives none (any more): pass a DataLoader or a list of (inputs, targets), not an iterator"
            )
