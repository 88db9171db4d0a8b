"""Figure X5, t* of networks of finite width against the infinitely wide one that starts from the same function."""

from dataclasses import replace

import numpy as np

from l2dynamics import peaks
from l2dynamics.theory import ntk, wide
from l2dynamics.theory.descent import Course, Descent
from l2dynamics.theory.parts import Part
from l2dynamics.theory.problem import Problem, signs, standardised
from l2dynamics.theory.solution import Array, evolve

TASK = "finite_star"


def with_test(task: Problem, test: int) -> Problem:
    """Return the problem with so many test images: t* of an accuracy needs more of them than a loss does."""
    x_test = standardised(task.source, task.source.test_images[:test])
    return replace(
        task,
        x_test=x_test,
        y_test=signs(task.source.test_labels[:test]),
        inputs=wide.project(task.x, x_test),
        kernel_test=ntk.relu_ntk(x_test, task.x),
    )


def compare(task: Problem, run: Descent, course: Course) -> Part:
    """Return t* of a trained network, and that of eq. (1), k = 2, with the infinite-width kernel from its f_0.

    Args:
        task: with the test set that the network was evaluated on.
        run: the network.
        course: its training.
    """
    theory = evolve(
        task.kernel,
        course.f0,
        task.y,
        run.l2,
        2,
        course.f.times,
        kernel_test=task.kernel_test,
        f0_test=course.f0_test,
    )
    found = {"network": course.f.test, "theory": theory.test}
    numbers = {
        "width": run.width,
        "seed": run.seed,
        "l2": run.l2,
        "eta": run.eta,
        "steps": course.steps,
        "seconds": course.seconds,
        "end": float(course.f.times[-1]),
        **{name: _star(task, course.f.times, f) for name, f in found.items() if f is not None},
    }
    return {"rows": [], "numbers": numbers}


def _star(task: Problem, times: Array, f: Array) -> dict[str, float]:
    """First time within 0.005 of the best accuracy, claim c7's definition, and that accuracy."""
    accuracy = (np.sign(f) == task.y_test).mean(axis=1)
    return {"t_star": float(peaks.star(times, accuracy)), "accuracy": float(accuracy.max())}
