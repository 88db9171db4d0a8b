"""suggest_l2 on curves with a known c, on every way in which a run can fail, and on a real network."""

import itertools
import json
import math
import warnings
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from l2dynamics import NoPeakError, predict_l2, suggest_l2, t_star
from l2dynamics.suggestion.answer import DECOUPLED
from l2dynamics.suggestion.probes import Probe, judge
from l2dynamics.suggestion.runs import Run


def bump(c, *, best=0.8, noise=0.0, spacing=1.0, fall=1.0, end=math.inf):
    """A training whose accuracy without noise is highest at t = c/λ."""

    def make_run(l2, seed):
        rng = np.random.default_rng(seed)
        step = 0.0
        while step <= end:
            x = step * l2 / c
            shape = x * math.exp(1 - x) if x < 1 else fall * x * math.exp(1 - x) + 1 - fall
            yield step, float(np.clip(0.1 + (best - 0.1) * shape + noise * rng.standard_normal(), 0, 1))
            step += spacing

    return make_run


def first_near_best(c, best=0.8):
    """t*·λ of the noiseless bump in the limit of dense evaluations."""
    x = np.linspace(0, 1, 100_001)
    return c * x[np.argmax((best - 0.1) * x * np.exp(1 - x) >= best - 0.1 - 0.005)]


@pytest.mark.parametrize("c", [0.02, 0.5, 10.0, 300.0])
@pytest.mark.parametrize("fall", [1.0, 0.0], ids=["falls", "stays"])
def test_known_c_is_found_whatever_its_size(c, fall):
    budget = 200_000
    found = suggest_l2(bump(c, fall=fall), budget, progress=False)
    truth = first_near_best(c)
    assert found.c_low * 0.95 <= truth <= found.c_high * 1.05  # the median rounds the maximum off a little
    assert found.c == pytest.approx(truth, rel=0.25)  # t* may be as early as the fourth evaluation
    assert found.l2 == predict_l2(found.c, budget)
    assert found.low <= found.l2 <= found.high
    assert 0 < found.share <= 0.5
    assert found.sure
    assert found.spent == pytest.approx(found.share * budget)


@pytest.mark.filterwarnings("ignore:suggest_l2. c varies")
def test_noise_neither_hides_nor_moves_the_peak():
    """Ten seeds, evaluation noise as of 2,000 test samples on a plateau (the hardest case)."""
    truth = first_near_best(5.0)
    found = [
        suggest_l2(
            bump(5.0, noise=0.01, spacing=4.0, fall=0.0), 400_000, seeds=(seed, seed + 100), progress=False
        )
        for seed in range(10)
    ]
    ratios = np.array([suggestion.c / truth for suggestion in found])
    assert (np.abs(np.log(ratios)) < math.log(1.6)).all(), ratios


def test_given_coefficients_are_measured_without_a_search():
    found = suggest_l2(bump(0.5), 10_000, l2=[0.01, 0.02], seeds=(0, 1, 2), max_share=0.5, progress=False)
    assert [(probe.l2, probe.seed) for probe in found.probes] == [
        (l2, seed) for l2 in (0.01, 0.02) for seed in (0, 1, 2)
    ]
    assert {probe.status for probe in found.probes} == {"peaked"}


@pytest.mark.parametrize("kind", [list, tuple, iter, dict.fromkeys, np.array, jnp.array])
def test_seeds_and_coefficients_are_taken_from_any_iterable(kind):
    found = suggest_l2(
        bump(0.5), 20_000, l2=kind([0.03125, 0.015625]), seeds=kind([3, 5]), max_share=1, progress=False
    )
    assert [(probe.l2, probe.seed) for probe in found.probes] == list(
        itertools.product([0.03125, 0.015625], [3, 5])
    )
    assert {type(probe.seed) for probe in found.probes} == {int}
    json.dumps(found.as_dict())


@pytest.mark.parametrize("number", [np.float32, jnp.float32, np.array])
def test_any_number_starts_the_search(number):
    found = suggest_l2(
        bump(0.5), number(16_384), l2=number(0.015625), first_decay=number(0.5), progress=False
    )
    json.dumps(found.as_dict())
    assert found == suggest_l2(bump(0.5), 16_384, l2=0.015625, first_decay=0.5, progress=False)


def test_schedule_uses_the_time_of_the_first_decay():
    plain = suggest_l2(bump(0.5), 10_000, progress=False)
    scheduled = suggest_l2(bump(0.5), 10_000, first_decay=0.3, progress=False)
    assert scheduled.l2 == pytest.approx(plain.l2 / 0.3)
    assert scheduled.c == plain.c


def test_runs_that_fail_at_large_l2_are_left_behind():
    good = bump(0.5)

    def make_run(l2, seed):
        if l2 > 0.03:
            raise FloatingPointError("loss is not finite")
        if l2 > 0.003:
            return iter([(0, 0.1), (1, float("nan"))])
        return good(l2, seed)

    found = suggest_l2(make_run, 100_000, l2=0.1, progress=False)
    assert [probe.status for probe in found.probes[:4]] == [
        "chance",  # this stand-in learns nothing without L2
        "diverged",
        "diverged",
        "peaked",
    ]
    assert found.c == pytest.approx(first_near_best(0.5), rel=0.1)


def test_total_cost_never_exceeds_the_share():
    for c in (0.01, 1.0, 100.0):
        for share in (0.02, 0.1):
            try:
                probes = suggest_l2(bump(c), 5_000, max_share=share, progress=False).probes
            except NoPeakError as error:
                probes = error.probes
            assert sum(probe.length for probe in probes) <= share * 5_000 + 1  # a run ends with an evaluation


def chance(l2, seed):
    rng = np.random.default_rng(seed)
    for step in range(10_000):
        yield step, 0.1 + 0.01 * rng.uniform(-1, 1)


def diverging(l2, seed):
    yield 0, 0.1
    yield 1, 0.3
    yield 2, float("nan")


def rising(l2, seed):
    for step in range(10_000):
        yield step, min(0.1 + step / 4_000, 0.9)


def rising_or_diverging(l2, seed):
    return rising(l2, seed) if l2 < 0.5 else diverging(l2, seed)


def half_way(l2, seed):
    for step in range(10_000):
        yield step, 0.22 + 0.01 * math.sin(step)


@pytest.mark.parametrize(
    ("make_run", "kwargs", "status", "message"),
    [
        (chance, {}, "chance", "without L2 nothing was learned up to 10[0-9]{2}: give max_share=1$"),
        (chance, {"learning_rate": 0.1, "chance": 0.1}, "chance", r"stayed at the level of guessing \(0.1\)"),
        (diverging, {}, "diverged", "training diverged at 2 without L2: lower the learning rate$"),
        (diverging, {"learning_rate": 0.1}, "diverged", "training diverged: lower the learning rate$"),
        (rising, {}, "not_peaked", "do not tell the scale on which L2 acts: give learning_rate="),
        (
            rising,
            {"l2": [0.1]},
            "not_peaked",
            "the accuracy was still rising at .*: start from a larger .*, l2=1$",
        ),
        (rising_or_diverging, {"l2": [0.1, 1.0], "max_share": 0.2}, "not_peaked", "max_share=0.4$"),
        (bump(0.5, end=20), {"l2": [0.01]}, "not_peaked", "make_run ended at 20: let it go on"),
        (bump(0.5, spacing=25), {"l2": [0.01, 0.02]}, "coarse", "give a smaller coefficient, l2=0.001"),
        (bump(50, spacing=500), {"l2": [0.1]}, "coarse", "evaluate every ≤ 100 instead of every 500"),
        (lambda l2, seed: [], {}, "empty", "make_run yielded nothing"),
        (half_way, {}, "chance", "say what guessing gives, classes= or chance=$"),
    ],
)
def test_no_peak_says_what_happened_and_what_to_do(make_run, kwargs, status, message):
    with pytest.raises(NoPeakError, match=message) as caught:
        suggest_l2(make_run, 10_000, progress=False, **kwargs)
    assert status in {probe.status for probe in caught.value.probes}
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make_run", "budget", "kwargs", "message"),
    [
        (bump(1.0), 0, {}, "budget is 0"),
        (bump(1.0), "200", {}, "^budget is '200': it must be a positive number of steps or epochs$"),
        (bump(1.0), None, {}, "^budget is None: it must be"),
        (bump(1.0), 100, {"seeds": 0}, r"^seeds is 0: give a list of seeds, such as \(0, 1\)$"),
        (bump(1.0), 100, {"seeds": "01"}, "^seeds is 01: give a list"),
        (bump(1.0), 100, {"seeds": iter(())}, "seeds is empty"),
        (bump(1.0), 100, {"seeds": [0, 0.5]}, "^seed is 0.5: give whole numbers"),
        (bump(1.0), 100, {"seeds": ["0"]}, "^seed is '0': give whole numbers"),
        (bump(1.0), 100, {"l2": "0.01"}, "^l2 is '0.01': the runs need a positive coefficient"),
        (bump(1.0), 100, {"l2": [0.1, "a"]}, "^l2 is 'a'"),
        (bump(1.0), 100, {"l2": [[0.1]]}, r"^l2 is \[0.1\]"),
        (bump(1.0), 100, {"l2": iter(())}, "l2 is empty"),
        (bump(1.0), 100, {"max_share": "0.2"}, "^max_share is '0.2'"),
        (bump(1.0), 100, {"max_share": math.nan}, "^max_share is nan"),
        (bump(1.0), 100, {"tolerance": -0.1}, "^tolerance is -0.1: give a distance"),
        (bump(1.0), 100, {"chance": 10}, "^chance is 10: give a fraction"),
        (bump(1.0), 100, {"first_decay": 30}, "first_decay is 30"),
        (bump(1.0), 100, {"metric": "r2"}, "^metric is 'r2': it must be .*; for R² yield 1 − R² as a loss"),
        (bump(1.0), 100, {"learning_rate": 0}, "^learning_rate is 0: it must be a positive number"),
        (bump(1.0), 100, {"learning_rate": 0.1, "momentum": 1}, r"^momentum is 1: it must lie in \[0, 1\)"),
        (bump(1.0), 100, {"steps_per_unit": 0}, "^steps_per_unit is 0"),
        (bump(1.0), 100, {"classes": 1}, "^classes is 1: give the number of classes"),
        (bump(1.0), 100, {"labels": []}, "^labels has shape"),
        (lambda l2, seed: [(1, -0.3)], 100, {}, "of a regression yield the test loss, or 1 − R²"),
        (bump(1.0), 100, {"l2": 0.0}, "l2 is 0.0"),
        (bump(1.0), 100, {"l2": [0.1, -1]}, "^l2 is -1: "),
        (bump(1.0), 100, {"seeds": ()}, "seeds is empty"),
        (bump(1.0), 100, {"l2": []}, "l2 is empty"),
        (bump(1.0), 100, {"max_share": 20}, "max_share is 20"),
        (lambda l2: iter([]), 100, {}, r"callable as make_run\(l2, seed\)"),
        (lambda l2, seed: 0.8, 100, {}, "make_run returns float: it must yield"),
        (lambda l2, seed: [0.1, 0.2], 100, {}, "make_run yields 0.1: it must yield pairs"),
        (lambda l2, seed: [(0, 10.0)], 100, {}, "divide percentages by 100"),
        (lambda l2, seed: [(1, 0.1), (1, 0.2)], 100, {}, "yields step 1 after 1"),
    ],
)
def test_bad_arguments_are_named(make_run, budget, kwargs, message):
    with pytest.raises(ValueError, match=message):
        suggest_l2(make_run, budget, progress=False, **kwargs)


def test_errors_of_the_training_are_not_hidden():
    def make_run(l2, seed):
        yield 0, 0.1
        raise KeyError("batch")

    with pytest.raises(KeyError, match="batch"):
        suggest_l2(make_run, 100, progress=False)


def test_stopped_runs_are_closed():
    closed = []

    def make_run(l2, seed):
        try:
            yield from bump(0.5)(l2, seed)
        finally:
            closed.append(seed)

    found = suggest_l2(make_run, 10_000, progress=False)
    assert len(closed) == len(found.probes)


def test_progress(capsys):
    suggest_l2(bump(0.5), 10_000, tolerance=0.001)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[1].startswith("l2 0.1, seed 0: peaked at 4, c = 0.4")
    seen = []
    suggest_l2(bump(0.5), 10_000, progress=seen.append)
    assert seen[0].status == "running"
    assert seen[-1].status == "peaked"
    assert capsys.readouterr().err == ""


def test_result_is_json():
    found = suggest_l2(bump(0.5), 10_000, progress=False)
    fields = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert fields["l2"] == found.l2
    assert fields["probes"][0]["steps"] == list(found.probes[0].steps)
    assert "budget of 10000" in str(found)
    endless = replace(found, low=-math.inf, high=math.nan)
    assert [json.loads(json.dumps(endless.as_dict(), allow_nan=False))[end] for end in ("low", "high")] == [
        None,
        None,
    ]


def test_known_chance_tells_learning_in_many_classes():
    curve = tuple(0.001 + 0.02 * x * math.exp(1 - x) for x in np.linspace(0, 6, 60))
    probe = Probe(0.1, 0, steps=tuple(range(60)), values=curve)
    assert judge(probe).status == "chance"
    assert judge(probe, chance=0.001).status == "peaked"


def network(rate, *, noise=0.0, every=10, learns_in=40.0, loss=False):
    """A training that learns without L2 as well; L2 acts on the scale τ = t · rate · λ, whatever λ is."""

    def make_run(l2, seed):
        rng = np.random.default_rng([seed, round(1e6 * l2)])
        for step in itertools.count(every, every):
            value = curve(step, rate * l2, learns_in) + noise * rng.standard_normal()
            yield step, 2 - 2 * value if loss else float(np.clip(value, 0, 1))

    return make_run


def curve(step, shrinking, learns_in=40.0):
    return 0.1 + 0.6 * (1 - np.exp(-step / learns_in)) * (1 + 0.3 * shrinking * step) * np.exp(
        -((shrinking * step) ** 2)
    )


def best_at(budget, rate):
    """The λ whose accuracy is best at the end of the budget."""
    steps = np.arange(1, 4 * budget)
    values = np.geomspace(0.01, 10, 121) / rate / budget
    times = [steps[np.argmax(curve(steps, rate * l2))] for l2 in values]
    return values[np.argmin(np.abs(np.log(np.array(times) / budget)))]


@pytest.mark.filterwarnings("ignore:suggest_l2")
@pytest.mark.parametrize("given", [True, False], ids=["rate given", "rate unknown"])
@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("rate", [1e-3, 0.05, 2.0])
@pytest.mark.parametrize("budget", [1000, 20_000])
def test_any_learning_rate_is_answered_by_default(budget, rate, noise, given):
    """Within a factor of four of the best λ, at the noise of 600 test samples."""
    known = {"learning_rate": rate / 10, "momentum": 0.9} if given else {}
    found = suggest_l2(network(rate, noise=noise), budget, progress=False, **known)
    assert 1 / 4 < found.l2 / best_at(budget, rate) < 4, str(found)
    assert found.share <= 0.52


@pytest.mark.filterwarnings("ignore:suggest_l2")
@pytest.mark.parametrize("rate", [1e-3, 30.0])
@pytest.mark.parametrize("budget", [300, 600])
def test_a_search_that_uses_up_the_time_still_answers(budget, rate):
    found = suggest_l2(network(rate, every=10), budget, progress=False)
    assert 1 / 4 < found.l2 / best_at(budget, rate) < 4
    assert not found.sure


def test_l2_that_always_diverges_beside_a_network_that_learns_is_said(recwarn):
    def make_run(l2, seed):
        for step, value in network(0.5)(l2, seed):
            yield step, math.nan if l2 > 0 else value

    for known in ({}, {"classes": 10}):
        with pytest.raises(
            NoPeakError, match=r"diverged: without L2 the network learned: give a smaller coefficient"
        ):
            suggest_l2(make_run, 3000, progress=False, **known)


def test_a_loss_is_not_called_an_accuracy():
    def make_run(l2, seed):
        for step in range(100_000):
            yield step, 3 - step / 1000

    with pytest.raises(NoPeakError) as caught:
        suggest_l2(make_run, 1000, l2=[1e-6], metric="loss", progress=False)
    assert "the loss was still falling" in str(caught.value)
    assert "accuracy" not in str(caught.value)


def test_given_learning_rate_places_the_first_coefficient():
    found = suggest_l2(network(0.5), 4000, learning_rate=0.05, momentum=0.9, progress=False)
    assert found.sure
    assert found.probes[0].status == "peaked"
    in_epochs = suggest_l2(
        lambda l2, seed: ((step / 100, value) for step, value in network(0.5)(l2, seed)),
        40,
        learning_rate=0.05,
        momentum=0.9,
        steps_per_unit=100,
        progress=False,
    )
    assert in_epochs.l2 == pytest.approx(found.l2, rel=0.05)
    assert in_epochs.c == pytest.approx(found.c / 100, rel=0.05)


def test_what_make_run_knows_need_not_be_said():
    run = Run(network(0.5), learning_rate=0.05, momentum=0.9, steps_per_unit=1, classes=10)
    told = suggest_l2(network(0.5), 4000, learning_rate=0.05, momentum=0.9, classes=10, progress=False)
    assert suggest_l2(run, 4000, progress=False) == told


@pytest.mark.filterwarnings("ignore:suggest_l2")
@pytest.mark.parametrize("given", [{}, {"learning_rate": 0.5}])
def test_a_loss_gives_the_same_coefficient_as_the_accuracy(given):
    by_accuracy = suggest_l2(network(0.5), 4000, progress=False, **given)
    by_loss = suggest_l2(network(0.5, loss=True), 4000, metric="loss", progress=False, **given)
    assert by_loss.l2 == pytest.approx(by_accuracy.l2, rel=0.3)
    assert {probe.metric for probe in by_loss.probes} == {"loss"}


def test_a_loss_whose_time_does_not_depend_on_l2_is_refused():
    def make_run(l2, seed):
        for step in range(1, 4000):
            yield step, 1 + (math.log(step / 60)) ** 2

    with pytest.raises(
        NoPeakError, match=r"t\* goes with l2 to the power .*0.0 instead of -1.*: tune l2 on a few"
    ):
        suggest_l2(make_run, 4000, l2=[0.1, 0.01], metric="loss", progress=False)


def test_without_a_peak_the_usual_coefficient_is_given_and_said_to_be_so():
    with pytest.warns(
        UserWarning, match="no run gave c and this is a guess from what is usual for the learning rate"
    ):
        found = suggest_l2(network(0.5, every=50), 300, learning_rate=0.5, progress=False)
    assert found.peaked == 0
    assert not found.sure
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert found.l2 == pytest.approx(0.7 / (0.5 * 300), rel=0.7)


def test_one_run_gives_no_range_and_a_warning():
    with pytest.warns(UserWarning, match="one run peaked"):
        found = suggest_l2(bump(0.5), 10_000, l2=[0.01], seeds=[0], progress=False)
    assert " to " not in str(found)
    assert found.as_dict()["low"] is None
    assert math.isnan(found.spread)


def test_c_that_varies_is_warned_of():
    def make_run(l2, seed):  # t* goes with λ to the power −1/2
        return bump(5)(l2**0.5, seed)

    with pytest.warns(UserWarning, match="c varies by a factor of 3"):
        found = suggest_l2(make_run, 10_000, l2=[1e-3, 1e-4], progress=False)
    assert found.spread == pytest.approx(10**0.5, rel=0.05)
    assert "unsure" in str(found)


@pytest.mark.parametrize(("of_run", "argument", "said"), [(True, None, 1), (None, True, 1), (True, False, 0)])
def test_decoupled_decay_is_never_sure_and_changes_no_number(of_run, argument, said):
    plain = suggest_l2(bump(0.3), budget=1000, progress=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = bump(0.3) if of_run is None else Run(bump(0.3), decoupled=of_run)
        found = suggest_l2(run, budget=1000, decoupled=argument, progress=False)
    assert [warning.message.args[0] for warning in caught] == [f"suggest_l2: {DECOUPLED}"] * said
    assert (found.sure, found.l2) == (not said, plain.l2)


def test_the_answer_says_what_it_cost():
    found = suggest_l2(bump(0.5), 10_000, l2=[0.01, 0.02], progress=False)
    assert f"cost {found.spent:g}, {found.share:.0%} of the budget" in str(found)


@pytest.mark.parametrize("labels", [[0, 0, 1, 2], np.array([0, 0, 1, 2]), iter([0, 0, 1, 2])])
def test_chance_is_that_of_the_labels(labels):
    with pytest.raises(NoPeakError, match=r"level of guessing \(0.5\)"):
        suggest_l2(
            lambda l2, seed: ((step, 0.5) for step in range(1000)),
            1000,
            learning_rate=0.1,
            labels=labels,
            progress=False,
        )


@pytest.fixture(scope="module")
def blobs():
    """Ten noisy clusters in 20 dimensions and few training samples: small, but it can be over-fitted."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(10, 20))

    def draw(n):
        labels = np.arange(n) % 10
        return (centres[labels] + 1.2 * rng.normal(size=(n, 20))).astype(np.float32), labels

    return draw(100), draw(1000)


def fc_run(blobs, rate):
    """Full-batch gradient descent on a small FC network, compiled once for all coefficients."""
    (x, y), (x_test, y_test) = blobs

    def forward(params, inputs):
        return jax.nn.relu(jax.nn.relu(inputs @ params[0]) @ params[1]) @ params[2]

    @jax.jit
    def ten_steps(params, l2):
        def loss(p):
            entropy = optax.softmax_cross_entropy_with_integer_labels(forward(p, x), y).mean()
            return entropy + l2 / 2 * sum(jnp.sum(w**2) for w in p)

        def step(p, _):
            return jax.tree.map(lambda w, g: w - rate * g, p, jax.grad(loss)(p)), None

        params = jax.lax.scan(step, params, length=10)[0]
        return params, jnp.mean(forward(params, x_test).argmax(-1) == y_test)

    def make_run(l2, seed):
        keys = jax.random.split(jax.random.key(seed), 3)
        sizes = [(20, 64), (64, 64), (64, 10)]
        params = [jax.random.normal(k, s) * math.sqrt(2 / s[0]) for k, s in zip(keys, sizes, strict=True)]
        step = 0
        while True:
            params, accuracy = ten_steps(params, jnp.float32(l2))
            step += 10
            yield step, float(accuracy)

    return make_run


def test_suggestion_for_a_real_network_holds_at_smaller_coefficients(blobs):
    """c measured at large λ gives t* of a λ four times smaller within the factor that the paper claims."""
    make_run = fc_run(blobs, rate=0.05)
    found = suggest_l2(make_run, budget=20_000, progress=False)
    peaked = [probe for probe in found.probes if probe.status == "peaked"]
    assert len(peaked) >= 2
    small = min(probe.l2 for probe in peaked) / 4
    curve = list(itertools.islice(make_run(small, 7), 300))
    predicted = found.c / small
    assert predicted < curve[-1][0]
    assert 0.1 < t_star(*zip(*curve, strict=True)) / predicted < 10
