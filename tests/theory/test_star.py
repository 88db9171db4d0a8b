"""t* of the theory's own test curve, against a flow integrated by steps and kernels integrated by sampling."""

import types

import jax.numpy as jnp
import numpy as np
import pytest

from l2dynamics import peaks
from l2dynamics.experiments.messages import check
from l2dynamics.theory import ntk, star, wide, widths
from l2dynamics.theory.descent import Course, Descent
from l2dynamics.theory.schema import TheoryConfig
from l2dynamics.theory.solution import Evolution

L2 = 0.3


@pytest.fixture(name="digits", scope="module")
def _digits():
    """Two noisy classes: images ``[n, 8]`` and labels, 12 to train and 400 to test."""
    rng = np.random.default_rng(5)
    y = np.where(rng.random(412) < 0.5, 1.0, -1.0)
    x = rng.normal(size=(412, 8)) + 0.6 * y[:, None] * np.linspace(0, 1, 8)
    return x[:12], y[:12], x[12:], y[12:]


def by_steps(kernel, kernel_test, y, l2, times, step=2e-4):
    """Gradient flow of eq. (1) for k = 2 by Euler's method, on both sets: f at ``times``."""
    f, f_test, t, found = np.zeros(len(kernel)), np.zeros(len(kernel_test)), 0.0, []
    for until in times:
        while t < until:
            now = min(step, until - t)
            pull = now * np.exp(-2 * l2 * t) * (y - f)
            f, f_test = (
                f + kernel @ pull - 2 * l2 * now * f,
                f_test + kernel_test @ pull - 2 * l2 * now * f_test,
            )
            t += now
        found.append(f_test)
    return np.array(found)


def test_the_test_curve_is_that_of_the_flow_taken_step_by_step(digits):
    x, y, x_test, y_test = digits
    kernel, kernel_test = ntk.relu_ntk(x), ntk.relu_ntk(x_test, x)
    times = np.geomspace(0.02, 4, 40)
    f = by_steps(kernel, kernel_test, y, L2, times)
    found = star.accuracy(kernel, kernel_test, y, y_test, L2, times)
    # Euler's error may turn the sign of an image that lies on the border.
    np.testing.assert_allclose(found, (np.sign(f) == y_test).mean(axis=1), atol=2.5 / len(y_test))
    assert np.ptp(found) > 0.02, "the accuracy moves"


def test_the_analytic_kernel_is_the_mean_over_random_units(digits):
    x, _, x_test, _ = digits
    w = np.random.default_rng(6).normal(size=(400_000, 8))
    z, z_test = x[:3] @ w.T / 8**0.5, x_test[:3] @ w.T / 8**0.5
    # Training a gives ⟨relu(z) relu(z')⟩, training W gives ⟨1(z > 0) 1(z' > 0)⟩ x·x'/d, as ⟨a²⟩ = 1.
    both = np.maximum(z_test, 0) @ np.maximum(z, 0).T + ((z_test > 0) * 1.0) @ (z > 0).T * (
        x_test[:3] @ x[:3].T / 8
    )
    np.testing.assert_allclose(ntk.relu_ntk(x_test[:3], x[:3]), both / len(w), rtol=0.02, atol=0.005)


def test_a_wide_network_that_trains_has_the_same_curve(digits):
    x, y, x_test, y_test = digits
    width, eta, steps = 8192, 0.01, [20, 100, 300]
    scaled, scaled_test = (jnp.asarray(v / 8**0.5, jnp.float32) for v in (x, x_test))
    labels = jnp.asarray(y, jnp.float32)
    # Two copies of one network with opposite outputs start at f = 0.
    w, a = wide.init([0], inputs=8, width=width // 2)
    params = tuple(jnp.concatenate(pair) for pair in ((w, w), (a, -a)))
    trained = [
        np.asarray(wide.apply(now, scaled_test))
        for _, now in wide.descend(params, scaled, labels, eta=eta, l2=L2, steps=steps)
    ]
    found = star.accuracy(ntk.relu_ntk(x), ntk.relu_ntk(x_test, x), y, y_test, L2, np.array(steps) * eta)
    np.testing.assert_allclose((np.sign(trained) == y_test).mean(axis=1), found, atol=0.03)


def test_numbers_and_rows(digits, monkeypatch):
    x, y, x_test, y_test = digits
    kernel, kernel_test = ntk.relu_ntk(x), ntk.relu_ntk(x_test, x)
    source = types.SimpleNamespace(test_images=x_test, test_labels=(y_test < 0).astype(int))
    task = types.SimpleNamespace(x=x, y=y, kernel=kernel, source=source)
    monkeypatch.setattr(star, "standardised", lambda _, images: images)
    section = {"l2": [0.005, 0.02, 0.1, 0.5], "test": 400}
    config = types.SimpleNamespace(
        test_star=check(TheoryConfig.model_fields["test_star"].annotation, section, "x")
    )
    part = star.compute(config, task)
    numbers = part["numbers"]
    assert [row["l2"] for row in numbers["table"]] == section["l2"] == [row["x"] for row in part["rows"]]
    assert len(numbers["local_slopes"]) == 3
    times = np.geomspace(0.1 / np.linalg.eigvalsh(kernel)[-1], 3 / 0.1, 3000)
    fine = float(peaks.first_within(times, star.accuracy(kernel, kernel_test, y, y_test, 0.1, times)))
    assert numbers["table"][2]["t_star"] == pytest.approx(fine, rel=0.1)
    above = np.polyfit(*np.log([(row["l2"], row["t_star"]) for row in numbers["table"][1:]]).T, 1)[0]
    assert numbers["exponent_above"]["slope"] == pytest.approx(above)
    assert (numbers["without_l2"]["l2"], numbers["test"]) == (0, 400)


def test_a_network_is_compared_with_the_flow_from_its_own_function(digits):
    x, y, x_test, y_test = digits
    kernel, kernel_test = ntk.relu_ntk(x), ntk.relu_ntk(x_test, x)
    task = types.SimpleNamespace(kernel=kernel, kernel_test=kernel_test, y=y, y_test=y_test)
    run = Descent("finite_star", 64, 7, L2, 0.01, 40, 1.2)
    times = np.geomspace(0.02, 4, 40)
    f = by_steps(kernel, kernel_test, y, L2, times)
    course = Course(
        1.0,
        Evolution(times, np.zeros((40, 12)), f),
        400,
        np.zeros(12),
        np.zeros(400),
        kernel,
        kernel_test,
        0.5,
    )
    found = widths.compare(task, run, course)["numbers"]
    curve = star.accuracy(kernel, kernel_test, y, y_test, L2, times)
    assert found["theory"] == {"t_star": float(peaks.star(times, curve)), "accuracy": curve.max()}
    assert found["network"]["t_star"] == pytest.approx(found["theory"]["t_star"], rel=0.2)
    assert (found["width"], found["seed"], found["l2"], found["end"]) == (64, 7, L2, 4.0)
