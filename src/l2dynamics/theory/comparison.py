"""A trained network against eq. (1): Figure 5c, claim 17 and the minimum of the test loss."""

from typing import Any

import numpy as np

from l2dynamics.theory.descent import Course, Descent
from l2dynamics.theory.parts import Part
from l2dynamics.theory.problem import Problem, loss
from l2dynamics.theory.solution import Array, Evolution, evolve


def compare(task: Problem, run: Descent, course: Course, drawn: Array | None = None) -> Part:
    """Compare a network with the theory of its own initial kernel and of the infinitely wide one, k = 2.

    Args:
        task: the data.
        run: the network.
        course: its training.
        drawn: kernel for the theory of Figure 5c; with it the curves are returned as rows.
    """
    times, measured = course.f.times, course.f

    def solve(kernel: Array, k: float, kernel_test: Array) -> Evolution:
        start = course.f0, task.y, run.l2, k, times
        return evolve(kernel, *start, kernel_test=kernel_test, f0_test=course.f0_test)

    own = solve(course.kernel, 2, course.kernel_test)
    infinite = solve(task.kernel, 2, task.kernel_test)
    trained, own_loss = loss(measured.train, task.y), loss(own.train, task.y)
    numbers: dict[str, Any] = {
        "width": run.width,
        "seed": run.seed,
        "steps": course.steps,
        "seconds": course.seconds,
        "l2": run.l2,
        "eta": run.eta,
        "t_min_theory": course.t_min,
        "t_min": _lowest(times, trained),
        "loss_min_theory": float(own_loss.min()),
        "deviation_own": _deviation(task, course, own),
        "deviation_infinite": _deviation(task, course, infinite),
        "test": _test_minimum(task, measured),
        "test_own": _test_minimum(task, own),
        "test_infinite": _test_minimum(task, infinite),
    }
    if drawn is None:
        return {"rows": [], "numbers": numbers}
    k1, k2 = (loss(evolve(drawn, course.f0, task.y, run.l2, k, times).train, task.y) for k in (1, 2))
    curves = {
        ("c", "theory k=1"): k1,
        ("c", "theory k=2"): k2,
        ("c", "experiment"): trained,
        ("test", "theory k=2"): _test_loss(task, infinite),
        ("test", "theory k=2, own kernel"): _test_loss(task, own),
        ("test", "experiment"): _test_loss(task, measured),
        ("own", "theory k=2, own kernel"): own_loss,
    }
    rows = [
        {"panel": panel, "curve": curve, "x": t, "y": v, "l2": run.l2, "width": run.width, "seed": run.seed}
        for (panel, curve), values in curves.items()
        for t, v in zip(times, values, strict=True)
    ]
    after = np.abs(np.log10(trained / k2))[times > course.t_min]
    numbers["deviation_after"] = float(np.max(after, initial=0.0))
    numbers["last_l2_time"] = float(times[-1] * run.l2)
    return {"rows": rows, "numbers": numbers}


def _deviation(task: Problem, course: Course, theory: Evolution) -> dict[str, float]:
    """Largest deviations until the predicted loss minimum: of the loss, relative, and of f, in units of ‖y‖."""
    times, train = course.f.times, course.f.train
    until = times <= max(course.t_min, times[0])
    distance = np.linalg.norm(train - theory.train, axis=1) / np.linalg.norm(task.y)
    return {
        "loss": float(np.max(np.abs(loss(train, task.y) / loss(theory.train, task.y) - 1)[until])),
        "function": float(np.max(distance[until])),
    }


def _lowest(times: Array, curve: Array) -> dict[str, float]:
    at = int(curve.argmin())
    return {"t": float(times[at]), "loss": float(curve[at]), "inside": bool(0 < at < len(times) - 1)}


def _test_loss(task: Problem, f: Evolution) -> Array:
    assert f.test is not None
    return loss(f.test, task.y_test)


def _test_minimum(task: Problem, f: Evolution) -> dict[str, float]:
    """Minimum of the test loss, and the error rate at the end."""
    assert f.test is not None
    wrong = np.sign(f.test[-1]) != task.y_test
    return {**_lowest(f.times, _test_loss(task, f)), "error": float(wrong.mean())}
