"""A trained network against eq. (1): Figure 5c, claim 17 and the minimum of the test loss."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from l2dynamics.theory.descent import Course, Descent
from l2dynamics.theory.parts import Part
from l2dynamics.theory.problem import Problem, loss
from l2dynamics.theory.solution import Array, Evolution, evolve


@dataclass(frozen=True)
class _Functions:
    """f along training, of a network or a theory: on the training set ``[times, samples]`` and on the test set."""

    task: Problem
    train: Array
    test: Array

    @property
    def loss(self) -> Array:
        """Training loss, ``[times]``."""
        return loss(self.train, self.task.y)

    @property
    def test_loss(self) -> Array:
        """Test loss, ``[times]``."""
        return loss(self.test, self.task.y_test)


def compare(task: Problem, run: Descent, eta: float, course: Course, drawn: Array | None = None) -> Part:
    """Compare a network with the theory of its own initial kernel and of the infinitely wide one, k = 2.

    Args:
        task: the data.
        run: the network.
        eta: learning rate.
        course: its training.
        drawn: kernel for the theory of Figure 5c; with it the curves are returned as rows.
    """

    def solve(kernel: Array, k: float, test: Array | None = None) -> Evolution:
        start = None if test is None else course.f0_test
        return evolve(kernel, course.f0, task.y, run.l2, k, course.times, kernel_test=test, f0_test=start)

    def of(evolution: Evolution) -> _Functions:
        assert evolution.test is not None
        return _Functions(task, evolution.train, evolution.test)

    measured = _Functions(task, course.train, course.test)
    own = of(solve(course.kernel, 2, course.kernel_test))
    infinite = of(solve(task.kernel, 2, task.kernel_test))
    numbers: dict[str, Any] = {
        "width": run.width,
        "seed": run.seed,
        "steps": course.steps[-1],
        "seconds": course.seconds,
        "l2": run.l2,
        "eta": eta,
        "t_min_theory": course.t_min,
        "t_min": _lowest(course.times, measured.loss),
        "loss_min_theory": float(own.loss.min()),
        "deviation_own": _deviation(course, measured, own),
        "deviation_infinite": _deviation(course, measured, infinite),
        "test": _test_minimum(course.times, measured),
        "test_own": _test_minimum(course.times, own),
        "test_infinite": _test_minimum(course.times, infinite),
    }
    if drawn is None:
        return {"rows": [], "numbers": numbers}
    k1, k2 = (loss(solve(drawn, k).train, task.y) for k in (1, 2))
    curves = {
        ("c", "theory k=1"): k1,
        ("c", "theory k=2"): k2,
        ("c", "experiment"): measured.loss,
        ("test", "theory k=2"): infinite.test_loss,
        ("test", "theory k=2, own kernel"): own.test_loss,
        ("test", "experiment"): measured.test_loss,
        ("own", "theory k=2, own kernel"): own.loss,
    }
    rows = [
        {"panel": panel, "curve": curve, "x": t, "y": v, "l2": run.l2, "width": run.width, "seed": run.seed}
        for (panel, curve), values in curves.items()
        for t, v in zip(course.times, values, strict=True)
    ]
    after = np.abs(np.log10(measured.loss / k2))[course.times > course.t_min]
    numbers["deviation_after"] = float(np.max(after, initial=0.0))
    numbers["last_l2_time"] = float(course.times[-1] * run.l2)
    return {"rows": rows, "numbers": numbers}


def _deviation(course: Course, measured: _Functions, theory: _Functions) -> dict[str, float]:
    """Largest deviations until the predicted loss minimum: of the loss, relative, and of f, in units of ‖y‖."""
    until = course.times <= max(course.t_min, course.times[0])
    distance = np.linalg.norm(measured.train - theory.train, axis=1) / np.linalg.norm(measured.task.y)
    return {
        "loss": float(np.max(np.abs(measured.loss / theory.loss - 1)[until])),
        "function": float(np.max(distance[until])),
    }


def _lowest(times: Array, curve: Array) -> dict[str, float]:
    at = int(curve.argmin())
    return {"t": float(times[at]), "loss": float(curve[at]), "inside": bool(0 < at < len(times) - 1)}


def _test_minimum(times: Array, found: _Functions) -> dict[str, float]:
    """Minimum of the test loss, and the error rate at the end."""
    wrong = np.sign(found.test[-1]) != found.task.y_test
    return {**_lowest(times, found.test_loss), "error": float(wrong.mean())}
