"""t_star, measure_c and predict_l2 against the paper's numbers and plain definitions."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2dynamics import measure_c, predict_l2, t_star

NAN = float("nan")


@pytest.mark.parametrize(
    ("steps", "accuracy", "expected"),
    [
        ([0, 10, 20, 40, 80], [0.1, 0.5, 0.797, 0.8, 0.7], 20),
        ([0, 1, 2], [0.1, 0.2, 0.3], 2),
        ([1, 2, 3], [0.9, 0.2, 0.3], 1),
        ([0, 1, 2, 3], [0.1, 0.5, NAN, NAN], 1),  # diverged after its peak
        ([0, 1, 2, 3], [NAN, 0.5, NAN, 0.6], 3),
        ([0, 1, 2], [0.1, 0.1, 0.1], 0),  # never learned
        ([0, 1, 2], [0.3, 0.1, 0.2], 0),  # training only did harm
        ([0, 1, 2], [0.1, 0.098, 0.104], 2),  # step 0 is within the tolerance, but is not the maximum
        ([5, 10], [0.1, 0.104], 5),  # an evaluation after some training does count
        ([0.5, 0.75], [0.2, 0.9], 0.75),
        ([7], [0.4], 7),
    ],
)
def test_t_star(steps, accuracy, expected):
    assert t_star(steps, accuracy) == expected


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_t_star_includes_the_boundary_whatever_the_rounding(dtype):
    """Of 2000 test samples 0.005 is exactly ten."""
    for best in range(100, 2001):
        accuracy = np.array([0, best - 11, best - 10, best], dtype) / dtype(2000)
        assert t_star([0, 1, 2, 3], accuracy) == 2


def test_t_star_takes_jax_arrays():
    assert t_star(jnp.arange(3), jnp.array([0.1, 0.7, 0.2])) == 1.0


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40), st.sampled_from([0.0, 0.005, 0.05]))
def test_t_star_is_the_first_within_the_tolerance(counts, tolerance):
    steps = [3 * i + 1 for i in range(len(counts))]
    allowed = round(1000 * tolerance)
    expected = next(s for s, n in zip(steps, counts, strict=True) if n >= max(counts) - allowed)
    assert t_star(steps, [n / 1000 for n in counts], tolerance=tolerance) == expected


@pytest.mark.parametrize(
    ("steps", "accuracy", "tolerance", "message"),
    [
        ([0, 1], [0.1], 0.005, "two lists of one length"),
        ([], [], 0.005, "no finite value"),
        ([0, 1], [NAN, NAN], 0.005, "no finite value: the run diverged"),
        ([0, 2, 1], [0.1, 0.2, 0.3], 0.005, "strictly increasing"),
        ([0, 0], [0.1, 0.2], 0.005, "strictly increasing"),
        ([-1, 0], [0.1, 0.2], 0.005, "not negative"),
        ([0, NAN], [0.1, 0.2], 0.005, "finite"),
        ([0, 1], [10.0, 60.0], 0.005, "divide percentages by 100"),
        ([0, 1], [0.1, float("inf")], 0.005, "fractions"),
        ([[0, 1]], [[0.1, 0.2]], 0.005, "two lists of one length"),
        ([0, 1], [0.1, 0.2], -0.1, "tolerance is -0.1"),
        ([0, 1], [0.1, 0.2], NAN, "tolerance is nan"),
        ([0, 1], [0.1, 0.2], "0.005", "tolerance is '0.005'"),
    ],
)
def test_t_star_refuses_what_has_no_answer(steps, accuracy, tolerance, message):
    with pytest.raises(ValueError, match=message):
        t_star(steps, accuracy, tolerance=tolerance)


def test_measure_c():
    assert measure_c([0, 0.33, 0.66, 2.0], [0.1, 0.3, 0.5, 0.4], l2=0.01) == pytest.approx(0.0066)


@pytest.mark.parametrize(
    ("accuracy", "l2", "message"),
    [
        ([0.1, 0.1], 0.01, "never rises"),
        ([0.1, 0.5], 0.0, "l2 is 0.0"),
        ([0.1, 0.5], -1.0, "l2 is -1.0"),
        ([0.1, 0.5], NAN, "l2 is nan"),
        ([0.1, 0.5], "0.01", "l2 is '0.01': measure c on a run"),
    ],
)
def test_measure_c_refuses_runs_without_c(accuracy, l2, message):
    with pytest.raises(ValueError, match=message):
        measure_c([0, 1], accuracy, l2)


RISING = np.linspace(0.1, 0.9, 101)


@pytest.mark.parametrize(
    ("steps", "accuracy", "t_star_found"),
    [
        (range(101), RISING, 100),
        ([0, 1], [0.1, 0.5], 1),
        (range(101), [*RISING[:-1], NAN], 99),  # diverged before it peaked
        (range(101), 0.9 - 0.8 * np.exp(-np.arange(101) / 40), 98),  # half way to its limit it looks flat
        ([0, 10, 20, 29], [0.1, 0.5, 0.8, 0.8], 20),
    ],
)
def test_measure_c_refuses_a_curve_that_never_peaked(steps, accuracy, t_star_found):
    message = rf"^test_accuracy may still be rising: t\* is {t_star_found} and the run ends at .*, so it has not peaked"
    with pytest.raises(ValueError, match=message):
        measure_c(steps, accuracy, 0.1)
    assert measure_c(steps, accuracy, 0.1, stretch=1) == pytest.approx(0.1 * t_star_found)


@pytest.mark.parametrize("height", [0.3, 0.5, 0.8])
def test_accepted_curves_that_approach_a_limit_have_their_t_star_within_four_percent(height):
    """In the limit of a long run t* is where height · exp(−t) falls below the tolerance."""
    truth = np.log(height / 0.005)
    accepted = []
    for end in np.linspace(0.5, 15, 59):
        steps = np.linspace(0, end, 4000)
        try:
            accepted.append(measure_c(steps, 0.1 + height * (1 - np.exp(-steps)), 1.0))
        except ValueError:
            assert not accepted  # once long enough, always long enough
            assert end < 1.6 * truth
    assert accepted
    np.testing.assert_allclose(accepted, truth, rtol=0.04)


@pytest.mark.parametrize(
    ("stretch", "end"), [(1.5, 0.3), (1.5, float(np.float32(0.3))), (3.0, 0.6), (2, 0.4)]
)
def test_a_run_of_exactly_the_length_is_accepted(stretch, end):
    assert measure_c([0, 0.1, 0.2, end], [0.1, 0.5, 0.8, 0.7], 0.1, stretch=stretch) == pytest.approx(0.02)


@pytest.mark.parametrize("stretch", [0.9, NAN, "2"])
def test_measure_c_refuses_a_stretch_below_one(stretch):
    with pytest.raises(ValueError, match=r"^stretch is .*: it must be at least 1"):
        measure_c([0, 1, 2], [0.1, 0.5, 0.4], 0.1, stretch=stretch)


# Predicted λ of figure 1b (supplement A), with the c that they imply.
@pytest.mark.parametrize(
    ("budget", "printed"),
    [
        (50, 1.31e-4),
        (100, 6.56e-5),
        (250, 2.63e-5),
        (500, 1.31e-5),
        (1000, 6.56e-6),
        (1500, 4.38e-6),
        (2000, 3.28e-6),
    ],
)
def test_predict_l2_gives_the_printed_values(budget, printed):
    assert predict_l2(0.00656, budget) == pytest.approx(printed, rel=5e-3)


@pytest.mark.parametrize("number", [int, np.int64, np.float32, jnp.float32, jnp.int32, np.array])
def test_predict_l2_takes_any_number(number):
    found = predict_l2(number(2), number(64), first_decay=number(1))
    assert (type(found), found) == (float, 0.03125)


def test_predict_l2_with_a_schedule_gives_the_printed_value():
    assert predict_l2(0.0066, 200, first_decay=0.3) == pytest.approx(1.1e-4, rel=1e-6)
    assert predict_l2(0.0066, 200, first_decay=1.0) == predict_l2(0.0066, 200)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"c": "0.0066", "budget": 50}, "^c is '0.0066': it must be a positive number"),
        ({"c": None, "budget": 50}, "^c is None"),
        (
            {"c": 0.0066, "budget": "200"},
            "^budget is '200': it must be a positive number of steps or epochs$",
        ),
        ({"c": 0.0066, "budget": [50, 100]}, r"^budget is \[50, 100\]"),
        ({"c": 1.0, "budget": 1.0, "first_decay": "0.3"}, "^first_decay is '0.3': give a fraction"),
        ({"c": 0.0, "budget": 1.0}, "c is 0.0"),
        ({"c": NAN, "budget": 1.0}, "c is nan"),
        ({"c": 1.0, "budget": 0}, "budget is 0"),
        ({"c": 1.0, "budget": float("inf")}, "budget is inf"),
        ({"c": 1.0, "budget": 1.0, "first_decay": 0.0}, "first_decay is 0.0"),
        ({"c": 1e300, "budget": 1e-300}, "budget is 1e-300 and c 1e\\+300: their ratio is no number"),
        ({"c": 1e-300, "budget": 1e300}, "their ratio is no number"),
        ({"c": 1.0, "budget": 1e-300, "first_decay": 1e-300}, "their ratio is no number"),
        ({"c": 1.0, "budget": 1.0, "first_decay": 60}, "first_decay is 60: give a fraction"),
    ],
)
def test_predict_l2_names_the_bad_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        predict_l2(**arguments)
