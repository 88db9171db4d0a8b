import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2dynamics.theory import deep_linear, homogeneity, lemma1

CNN = {"channels": 2, "dense": 3, "pool_window": 2, "pool_stride": 2}


@settings(max_examples=3, deadline=None, derandomize=True)
@given(depth=st.integers(1, 3), width=st.integers(2, 9), seed=st.integers(0, 2**20))
def test_lemma_1_holds_for_random_fully_connected_nets(depth, width, seed):
    found = lemma1.measure(
        "fc", {"depth": depth, "width": width}, depth + 1, (3, 2, 2, 1), seed, biases=False
    )
    assert [one.order for one in found] == [0, 1, 2]
    assert max(one.residual for one in found) < 1e-10


@pytest.mark.parametrize(("batch_norm", "k", "tolerance"), [(False, 6, 1e-10), (True, 4, 2e-3)])
def test_lemma_1_holds_for_cnns_up_to_the_epsilon_of_batch_norm(batch_norm, k, tolerance):
    found = lemma1.measure("cnn", {**CNN, "batch_norm": batch_norm}, k, (6, 12, 12, 3), 0, biases=False)
    for one in found:
        assert one.residual < tolerance
        assert one.degree == pytest.approx(k, abs=10 * tolerance)


def test_biases_break_it_beyond_order_0():
    found = lemma1.measure("fc", {"depth": 2, "width": 6}, 3, (3, 2, 2, 1), 0, biases=True)
    assert found[0].residual < 1e-10
    assert min(one.residual for one in found[1:]) > 1e-3


def test_degrees_of_polynomials():
    params = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([3.0])}
    cubic = homogeneity.euler(lambda p: p["a"] ** 2 * p["b"], params, 3, 0)
    np.testing.assert_allclose([one.degree for one in cubic], 3, rtol=1e-5)
    wrong = homogeneity.euler(lambda p: p["a"] ** 2 * p["b"], params, 2, 0)
    assert min(one.residual for one in wrong) > 0.1
    mixed = homogeneity.euler(lambda p: p["a"] ** 2 + p["b"], params, 2, 0, highest=0)
    (value,) = mixed
    assert value.residual > 0.1
    linear = homogeneity.euler(lambda p: p["a"] + p["b"], params, 1, 0)
    assert linear[2] == homogeneity.Homogeneity(2, 1, 0.0)


def test_split_and_merge():
    params = {"d": {"kernel": 1, "bias": 2}, "n": {"scale": 3}}
    kept, dropped = homogeneity.split(params)
    assert kept == {"d": {"kernel": 1}, "n": {"scale": 3}}
    assert dropped == {"d": {"bias": 2}, "n": {}}
    assert homogeneity.merge(kept, dropped) == params


@pytest.mark.parametrize(("width", "l2"), [(4, 0.1), (25, 0.1), (25, 0.02)])
def test_one_hidden_layer_settles_at_one_minus_l2_root_n(width, l2):
    assert deep_linear.fixed_point(l2, width, 1) == pytest.approx(1 - l2 * width**0.5, rel=1e-12)
    assert deep_linear.converge(l2, width, 1, eta=0.05, seed=0) == pytest.approx(
        1 - l2 * width**0.5, rel=1e-8
    )


@pytest.mark.parametrize("depth", [2, 3])
def test_deeper_nets_settle_where_s25_says(depth):
    l2, width = 0.03, 9
    f = deep_linear.converge(l2, width, depth, eta=0.05, seed=1)
    assert l2 ** (depth + 1) * width**depth == pytest.approx(
        ((1 - f) * f) ** (depth - 1) * (1 - f) ** 2, rel=1e-7
    )
    assert f == pytest.approx(deep_linear.fixed_point(l2, width, depth), rel=1e-8)


def test_above_the_critical_l2_everything_decays():
    assert deep_linear.fixed_point(0.6, 4, 1) == 0
    assert deep_linear.fixed_point(0.6, 4, 2) == 0
    assert abs(deep_linear.converge(0.6, 4, 1, eta=0.1, seed=0)) < 1e-6


def test_fixed_point_does_not_depend_on_width_at_the_scaling_of_the_paper():
    values = [deep_linear.fixed_point(0.1 * n ** (-2 / 3), n, 2) for n in (4, 64, 1024)]
    np.testing.assert_allclose(values, values[0], rtol=1e-10)


def test_bad_arguments():
    with pytest.raises(ValueError, match="l2 must be positive"):
        deep_linear.fixed_point(0.0, 4, 1)
    with pytest.raises(ValueError, match="at least 1"):
        deep_linear.fixed_point(0.1, 0, 1)
    with pytest.raises(RuntimeError, match="has not settled"):
        deep_linear.converge(0.01, 4, 1, eta=0.05, seed=0, max_steps=200)
