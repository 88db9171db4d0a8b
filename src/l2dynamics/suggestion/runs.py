"""What is known about the trainings that :func:`l2dynamics.suggest_l2` starts, beside the curves that they yield."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

MakeRun = Callable[[float, int], Iterable[tuple[float, float]]]


@dataclass(frozen=True)
class Run:
    """A ``make_run(l2, seed)`` that says what :func:`l2dynamics.suggest_l2` would otherwise have to be told.

    Attributes:
        start: starts a training and returns an iterable of ``(time, test accuracy or loss)``.
        learning_rate: rate at the start; None if unknown.
        momentum: heavy-ball momentum; 0 for Adam and AdamW.
        steps_per_unit: weight updates in one unit of time; None if unknown.
        classes: number of classes; None if unknown.
        decoupled: whether the coefficient is decoupled weight decay, as in AdamW, and not a term of the loss.
    """

    start: MakeRun
    learning_rate: float | None = None
    momentum: float = 0.0
    steps_per_unit: float | None = None
    classes: int | None = None
    decoupled: bool = False

    def __call__(self, l2: float, seed: int) -> Iterable[tuple[float, float]]:
        """Start a fresh training with this coefficient and seed."""
        return self.start(l2, seed)
