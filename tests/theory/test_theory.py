import math

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from l2dynamics.theory.solution import evolve, kernel_decay, loss_minimum_time, mode_evolution

RATIOS = (1e-6, 1e-3, 0.3, 1.0, 7.0, 1e3, 1.4e5, 1e8)
TIMES = (0.0, 1e-9, 1e-3, 0.2, 1.0, 6.5, 50.0)


def exact(t: float, gamma: float, l2: float, k: float) -> mp.mpf:
    """Eq. (3) for y = 1, f0 = 0 to 50 digits, by incomplete gamma functions."""
    with mp.workdps(60):
        t, gamma, l2, k = (mp.mpf(v) for v in (t, gamma, l2, k))
        if k == 1:
            return -gamma * mp.expm1(-(gamma + l2) * t) / (gamma + l2)
    with mp.workdps(75):  # the difference below cancels up to twenty digits
        beta = 2 * (k - 1) * l2
        late, early, p = gamma * mp.exp(-beta * t) / beta, gamma / beta, k / (2 * (k - 1))
        return mp.exp(late) * late**p * (mp.gammainc(1 - p, late) - mp.gammainc(1 - p, early))


@pytest.mark.parametrize("k", [1, 1.5, 2, 3, 5])
def test_mode_evolution_has_many_correct_digits(k):
    l2 = 0.01
    got = mode_evolution(np.array(TIMES)[:, None] / l2, gamma=np.array(RATIOS) * l2, l2=l2, k=k)
    for i, time in enumerate(TIMES):
        for j, ratio in enumerate(RATIOS):
            expected = exact(time / l2, float(np.float64(ratio) * l2), l2, k)
            assert abs(mp.mpf(float(got[i, j])) - expected) <= 1e-12 * abs(expected), (time, ratio)


@pytest.mark.parametrize("k", [1, 1.3, 2, 4.5])
@pytest.mark.parametrize(("y", "f0"), [(1.0, 0.0), (-0.7, 2.0)])
def test_mode_evolution_solves_the_differential_equation(k, y, f0):
    gamma, l2, times = 0.9, 0.25, np.array([0.4, 3.0, 9.0])
    solution = solve_ivp(
        lambda t, f: gamma * math.exp(-2 * (k - 1) * l2 * t) * (y - f) - k * l2 * f,
        (0, times[-1]), [f0], t_eval=times, rtol=1e-11, atol=1e-13,
    )  # fmt: skip
    np.testing.assert_allclose(
        mode_evolution(times, gamma=gamma, l2=l2, k=k, y=y, f0=f0), solution.y[0], rtol=1e-8
    )


def test_mode_evolution_is_continuous_at_k_1_and_l2_0():
    times = np.geomspace(1e-3, 40, 7)
    near = mode_evolution(times, gamma=3.0, l2=0.5, k=1 + 1e-10, f0=0.3)
    np.testing.assert_allclose(near, mode_evolution(times, gamma=3.0, l2=0.5, k=1, f0=0.3), rtol=1e-7)
    free = 1 + (0.3 - 1) * np.exp(-3.0 * times)
    np.testing.assert_allclose(mode_evolution(times, gamma=3.0, l2=0, k=2, f0=0.3), free, rtol=1e-13)
    np.testing.assert_allclose(mode_evolution(times, gamma=3.0, l2=1e-15, k=2, f0=0.3), free, rtol=1e-10)
    np.testing.assert_allclose(
        mode_evolution(times, gamma=0, l2=0.5, k=2, f0=0.3), 0.3 * np.exp(-times), rtol=1e-13
    )


def test_mode_evolution_stays_finite_at_the_ends_of_float64():
    big = [0.0, 1e-300, 1.0, 1e300]
    t, gamma, l2 = np.meshgrid(big, [0.0, 1e-300, 1.0, 1e200], [0.0, 1e-300, 1e-3, 1e100])
    for k in (1, 1.5, 2, 5):
        values = mode_evolution(t, gamma=gamma, l2=l2, k=k, f0=-0.5)
        assert np.isfinite(values).all()
        assert (values >= -0.5).all()
        assert (values <= 1 + 1e-12).all()


def test_arguments_broadcast_and_scalars_stay_scalars():
    assert np.ndim(mode_evolution(1, gamma=1, l2=1, k=2)) == 0
    assert mode_evolution([1.0, 2.0], gamma=np.ones((3, 1)), l2=1, k=2).shape == (3, 2)
    assert mode_evolution(np.float32(1), gamma=1, l2=1, k=2).dtype == np.float64


@pytest.mark.parametrize(
    ("name", "value"),
    [("t", -1.0), ("t", math.nan), ("gamma", -1e-9), ("l2", -0.1), ("k", 0.9), ("k", math.inf), ("y", math.nan),
     ("f0", math.inf)],
)  # fmt: skip
def test_bad_arguments_are_named(name, value):
    arguments = {"t": 1.0, "gamma": 1.0, "l2": 0.1, "k": 2.0, "y": 1.0, "f0": 0.0, name: value}
    with pytest.raises(ValueError, match=rf"^{name} must be"):
        mode_evolution(arguments.pop("t"), **arguments)


def test_kernel_decay():
    np.testing.assert_allclose(kernel_decay([0.0, 10.0], l2=0.1, k=3), [1, math.exp(-4)])
    np.testing.assert_array_equal(kernel_decay([0.0, 10.0], l2=0.1, k=1), 1)
    with pytest.raises(ValueError, match=r"^l2 must be"):
        kernel_decay(1.0, l2=-1, k=2)


def test_loss_minimum_time_against_brute_force():
    rng = np.random.default_rng(0)
    gamma, y, f0, l2 = np.geomspace(1e-3, 30, 12), rng.normal(size=12), rng.normal(size=12), 0.02
    times = np.geomspace(1e-3, 1e3, 20_001)
    f = mode_evolution(times[:, None], gamma=gamma, l2=l2, k=2, y=y, f0=f0)
    best = times[((f - y) ** 2).sum(1).argmin()]
    assert loss_minimum_time(gamma=gamma, l2=l2, k=2, y=y, f0=f0) == pytest.approx(best, rel=1e-3)


def test_loss_minimum_exists_for_k_above_1_only():
    gamma = np.geomspace(1e-4, 10, 9)
    assert math.isfinite(loss_minimum_time(gamma=gamma, l2=0.01, k=2))
    assert loss_minimum_time(gamma=gamma, l2=0.01, k=1) == math.inf
    assert loss_minimum_time(gamma=gamma, l2=0, k=2) == math.inf
    assert loss_minimum_time(gamma=1.0, l2=0.1, k=2, y=1.0, f0=1.0) == 0.0


@pytest.fixture(name="kernels")
def _kernels() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(9, 6))  # rank 6 of 8 samples: null modes included
    features = np.concatenate([features, rng.normal(size=(2, 6))])
    return features[:8] @ features[:8].T, features[8:] @ features[:8].T


@pytest.mark.parametrize(("shape", "k"), [((8,), 2), ((8, 3), 1.5)])
def test_closed_form_and_ode_agree(kernels, shape, k):
    rng = np.random.default_rng(2)
    y, f0, f0_test = rng.normal(size=shape), rng.normal(size=shape), rng.normal(size=(3, *shape[1:]))
    arguments = (kernels[0], f0, y, 0.05, k, [0.0, 0.3, 4.0, 25.0])
    closed = evolve(*arguments, kernel_test=kernels[1], f0_test=f0_test)
    ode = evolve(
        *arguments, kernel_test=kernels[1], f0_test=f0_test, loss=lambda f, y: 0.5 * jnp.sum((f - y) ** 2)
    )
    np.testing.assert_allclose(closed.train, ode.train, atol=1e-6)
    np.testing.assert_allclose(closed.test, ode.test, atol=1e-6)
    np.testing.assert_allclose(closed.train[0], f0, atol=1e-12)
    np.testing.assert_allclose(closed.test[0], f0_test, atol=1e-12)
    assert jnp.ones(1).dtype == jnp.float32  # 64 bits stayed inside


def test_another_loss_against_scipy(kernels):
    y, l2, k = np.sign(np.arange(8) - 3.5), 0.05, 3
    got = evolve(kernels[0], 0.0, y, l2, k, [2.0], loss=lambda f, y: jnp.sum(jax.nn.softplus(-y * f)))

    def speed(t, f):
        return math.exp(-2 * (k - 1) * l2 * t) * kernels[0] @ (y / (1 + np.exp(y * f))) - k * l2 * f

    expected = solve_ivp(speed, (0, 2), np.zeros(8), rtol=1e-10, atol=1e-12).y[:, -1]
    np.testing.assert_allclose(got.train[0], expected, atol=1e-6)
    assert got.test is None


def test_linear_model_ends_at_kernel_ridge_regression(kernels):
    y, l2 = np.arange(8.0), 0.3
    got = evolve(kernels[0], 1.0, y, l2, 1, [1e4], kernel_test=kernels[1])
    weights = np.linalg.solve(kernels[0] + l2 * np.eye(8), y)
    np.testing.assert_allclose(got.test[0], kernels[1] @ weights, rtol=1e-9)
    np.testing.assert_allclose(got.train[0], kernels[0] @ weights, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"kernel": np.eye(3)}, "kernel has shape"), ({"kernel": np.triu(np.ones((2, 2)))}, "not symmetric"),
     ({"f0": np.zeros(3)}, "f0 has shape"), ({"times": [1.0, 1.0]}, "times must be"), ({"k": 0}, "k must be"),
     ({"kernel_test": np.ones((4, 3))}, "kernel_test has shape"), ({"y": [1.0, math.nan]}, "y must be finite")],
)  # fmt: skip
def test_evolve_names_bad_arguments(change, message):
    arguments = {"kernel": np.eye(2), "f0": 0.0, "y": np.ones(2), "l2": 0.1, "k": 2, "times": [1.0], **change}
    with pytest.raises(ValueError, match=message):
        evolve(**arguments)


def test_a_loss_without_minimum_is_reported():
    with pytest.raises(RuntimeError, match="could not be integrated"):
        evolve(np.eye(2), 1.0, np.ones(2), 0.02, 1, [1e5], loss=lambda f, y: -jnp.sum(f**4))
