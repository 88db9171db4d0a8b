"""The claims on worlds whose truth is known: confirmed where the law holds, contradicted where it is broken."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import worlds

from l2dynamics.analysis.resampling import Estimate, Parts
from l2dynamics.analysis.verdicts import Verdict
from l2dynamics.claims import (
    accuracies,
    adaptive,
    base,
    beyond,
    budgets,
    checks,
    coefficients,
    evaluation,
    exceptions,
    judging,
    mse,
    parts,
    regimes,
    times,
    weights,
)
from l2dynamics.claims.judging import Part, Spec
from l2dynamics.results.tables import BLOCKS, block_sizes

YES, NO, OPEN = Verdict.CONFIRMED, Verdict.CONTRADICTED, Verdict.UNDECIDED


@pytest.fixture(scope="module")
def world():
    return worlds.everything()


@pytest.fixture(scope="module")
def judged(world):
    return evaluation.evaluate(world)


def test_where_the_laws_hold_the_claims_are_confirmed(judged):
    expected = {f"{number:02d}" for number in range(1, 16)}
    assert {id: judged[id]["verdict"] for id in sorted(expected)} == dict.fromkeys(sorted(expected), YES)
    parts = {id: record["verdict"] for id, record in judged.items() if "-" in id and id[0] not in "cx"}
    assert {id: verdict for id, verdict in parts.items() if verdict != YES} == {}


def test_every_record_is_flat_json_with_the_agreed_keys(judged):
    for id, record in judged.items():
        assert tuple(record) == base.FIELDS, id
        assert json.loads(json.dumps(record, allow_nan=False)) == record
        assert record["scale"] == "laptop"
        assert record["verdict"] in set(Verdict)
        assert record["kind"] == (base.PAPER if id[0].isdigit() else base.OURS)
        assert record["reason"], id
        assert "true" in record["claim"].lower(), id
        assert (record["low"] is None) == (record["level"] is None), id
        if record["low"] is not None:
            assert record["low"] <= record["measured"] <= record["high"]
            assert record["level"] in (0.9, 0.95)
        assert all(figure.startswith("fig") for figure in record["figure"].split())


@pytest.mark.parametrize(
    ("id", "value", "tolerance"),
    [
        ("01-fc", -1.0, 0.05),  # t* = c/(ηλ)
        ("02-fc", -1.0, 0.05),
        ("03-fc", 0.0, 0.005),
        ("05-fc", 0.03, 0.005),  # λ = 0 saturates 0.03 below the plateau
        ("07-T250", 1.5, 1.3),  # c/T; the parabola lies somewhat above it
        ("09", 2.0, 0.3),
        ("10-fc", 0.02, 0.003),
        ("12-fc", -1.0, 0.05),
        ("13-eta", 0.05, 0.01),
        ("14-resnet-budget", 0.04, 0.01),
        ("15", 0.0, 0.005),
        ("x1", -1.0, 0.1),
        ("x1-coupled", -1.0, 0.1),
        ("x1-time", -1.0, 0.1),
        ("x2-wrn_cosine", 0.0, 0.004),
        ("x3", 1.0, 0.05),
        ("x3-others", 1.0, 0.05),
        ("x3-eta", 0.0, 0.05),
        ("x3-angle", 1.0, 0.02),
        ("x4-fc", 0.03, 0.005),
        ("x4-cnn_bn", 0.03, 0.005),
        ("c2-fc", 0.7, 1e-9),
        ("c2-wrn", 1 / 20 * 20 * 0.2 / 0.1, 1e-9),
    ],
)
def test_measured_numbers_are_those_put_in(judged, id, value, tolerance):
    assert judged[id]["measured"] == pytest.approx(value, abs=tolerance)


def test_ids_are_ordered_for_readers():
    ids = ["x1", "c2", "10-fc", "07-T10", "02", "c10", "x1-time", "01-fc", "07-T5", "10", "01", "07", "c2-fc"]
    ordered = [
        "01",
        "01-fc",
        "02",
        "07",
        "07-T5",
        "07-T10",
        "10",
        "10-fc",
        "c2",
        "c2-fc",
        "c10",
        "x1",
        "x1-time",
    ]
    assert sorted(ids, key=evaluation.order) == ordered


def alone(spec, judge, name):
    """A claim of one setup."""
    return lambda world: judging.over_setups(spec, [judge(world, name)])[0]


def first(evaluate, id):
    """One claim of a module."""
    return lambda world: next(claim for claim in evaluate(world) if claim.id == id)


ONE = {
    "01": alone(times.ON_L2, times.against_l2, "fc"),
    "02": alone(times.ON_PRODUCT, times.against_product, "fc"),
    "03": alone(accuracies.PLATEAU, accuracies.plateau, "cnn"),
    "03s": alone(accuracies.PLATEAU, accuracies.plateau, "wrn_schedule"),
    "04": alone(accuracies.OPTIMUM, accuracies.optimum, "cnn"),
    "05": alone(accuracies.NON_ZERO, accuracies.better_than_zero, "cnn"),
    "06": alone(accuracies.ANY_ETA, accuracies.over_eta, "fc"),
    "07": first(budgets.over_budgets, "07"),
    "08": first(budgets.over_budgets, "08"),
    "09": lambda world: judging.single(budgets.SCHEDULED, budgets.with_schedule(world)),
    "10": alone(adaptive.BEATS, adaptive.as_printed, "autol2_fc"),
    "11": lambda world: judging.single(adaptive.SCHEDULED, adaptive.with_schedule(world)),
    "12": alone(times.TO_FIT, times.time_to_fit, "fc"),
    "13": first(mse.evaluate, "13"),
    "13-eta": first(mse.evaluate, "13-eta"),
    "13-loss": first(mse.evaluate, "13-loss"),
    "14": first(exceptions.evaluate, "14"),
    "14-fc_small-accuracy": first(exceptions.evaluate, "14-fc_small-accuracy"),
    "14-fc_small-time": first(exceptions.evaluate, "14-fc_small-time"),
    "14-resnet-budget": first(exceptions.evaluate, "14-resnet-budget"),
    "14-resnet-product": first(exceptions.evaluate, "14-resnet-product"),
    "15": lambda world: judging.single(exceptions.INITIAL, exceptions.initial_scale(world)),
    "c3": lambda world: judging.single(budgets.DOUBLED, budgets.doubled(world)),
    "c8": alone(times.CURVATURE, times.curvature, "fc"),
    "x1": lambda world: judging.single(beyond.ON_BUDGET, beyond.on_budget(world, "cnn_bn_adamw")),
    "x1-time": lambda world: judging.single(beyond.ON_TIME, beyond.on_time(world)),
    "x2": alone(beyond.UNITS, beyond.own_units, "wrn_cosine"),
    "x3": lambda world: judging.single(weights.ALONE, weights.against_all(world, weights.INVARIANT)),
    "x3-eta": lambda world: judging.single(weights.INTRINSIC, weights.at_one_product(world)),
    "x3-angle": lambda world: judging.single(weights.BALANCED, weights.balanced(world)),
    "x4": lambda world: judging.over_setups(beyond.GAIN, [beyond.gain(world, "fc")])[0],
}

SCHEDULE = "autol2_wrn_schedule"
FEW = (1e-4, 1e-3, 1e-2)
#: claim, results, how they are made, verdict, part of its reason
BROKEN = [
    ("01", "fc", lambda: worlds.sweep("fc", exponent=-0.5, length=10), NO, "outside −1.25 … −0.75"),
    ("01", "fc", lambda: worlds.sweep("fc", flat=True), NO, "outside"),
    (
        "01",
        "fc",
        lambda: worlds.sweep("fc", l2s=FEW),
        OPEN,
        "3 λ over 2.0 decades enter the fit, not 5 over 1.5",
    ),
    ("01", "fc", lambda: worlds.sweep("fc", l2s=np.geomspace(1e-3, 1e-2, 5)), OPEN, "over 1.0 decades"),
    ("01", "fc", lambda: worlds.sweep("fc", seeds=(0,)), OPEN, "one seed"),
    ("01", "fc", lambda: worlds.sweep("fc", zero_length=0.01), OPEN, "no λ = 0 as long"),
    ("01", "fc", lambda: worlds.sweep("fc", fits=0.9), OPEN, "outside the regime"),
    ("02", "fc", lambda: worlds.sweep("fc", prefactor=0.8, length=40), NO, "spread of log(t* η λ) over η"),
    ("02", "fc", lambda: worlds.sweep("fc", etas=(0.15,)), OPEN, "two of them"),
    ("02", "fc", lambda: worlds.sweep("fc", etas=(0.15, 0.5)), OPEN, "2.5 decades of ηλ enter the fit"),
    ("03", "cnn", lambda: worlds.sweep("cnn", small=0.009, large=0.0), OPEN, "neither"),
    (
        "03",
        "cnn",
        lambda: worlds.sweep("cnn", small=0.009, l2s=np.geomspace(1e-2, 0.05, 4)),
        OPEN,
        "three over a decade",
    ),
    ("03s", "wrn_schedule", lambda: worlds.wrn_schedule(small=0.03), NO, "outside −0.01 … 0.01"),
    ("03s", "wrn_schedule", lambda: worlds.wrn_schedule(small=-0.03), OPEN, "still rises towards small λ"),
    ("03s", "wrn_schedule", lambda: worlds.wrn_schedule(seeds=(0,)), OPEN, "one seed"),
    ("04", "cnn", lambda: worlds.sweep("cnn", zero=0.85), NO, "best λ minus λ = 0"),
    ("04", "cnn", lambda: worlds.sweep("cnn", fit=-1, seeds=(0,)), OPEN, "one seed"),
    ("04", "cnn", lambda: worlds.sweep("cnn", l2s=(0.01, 0.1)), OPEN, "2 λ > 0"),
    ("05", "cnn", lambda: worlds.sweep("cnn", zero=0.85), NO, "below 0"),
    ("05", "cnn", lambda: worlds.sweep("cnn", zero=0.85, zero_length=0.5), OPEN, "trained longer than λ = 0"),
    (
        "05",
        "cnn",
        lambda: worlds.sweep("cnn", l2s=np.geomspace(0.01, 0.1, 4), zero_length=0.05),
        OPEN,
        "less long than every",
    ),
    ("06", "fc", lambda: worlds.sweep("fc", per_eta=0.05), NO, "outside −0.01 … 0.01"),
    ("06", "fc", lambda: worlds.sweep("fc", etas=(0.15, 0.2)), OPEN, "half of the largest that trains"),
    ("07", "wrn_aug", lambda: worlds.wrn_aug(shift=30.0), NO, "outside −1 … 1"),
    ("07", "wrn_aug", lambda: worlds.wrn_aug(budgets=(5000, 10_000)), OPEN, "2 budgets over 0.3 decades"),
    ("07", "wrn_aug", lambda: worlds.wrn_aug(l2s=np.geomspace(3e-4, 1e-2, 8)), OPEN, "does not bracket"),
    ("08", "wrn_aug", lambda: worlds.wrn_aug(loss=0.05), NO, "above 0.1"),
    ("08", "wrn_aug", lambda: worlds.wrn_aug(seeds=(0,)), OPEN, "one seed"),
    ("09", "wrn_schedule", lambda: worlds.wrn_schedule(best=50.0), NO, "outside −1 … 1"),
    ("09", "measure_c", lambda: worlds.measure_c(0.2), OPEN, "t·η_eff·λ = 0.4, before 0.5"),
    ("10", "autol2_fc", lambda: worlds.autol2("autol2_fc", gain=-0.02), NO, "below 0"),
    ("10", "autol2_fc", lambda: worlds.autol2("autol2_fc", speed=0.4), NO, "log of the time"),
    ("10", "autol2_fc", lambda: worlds.autol2("autol2_fc", steps=5000), OPEN, "fewer than the paper's 9,760"),
    ("10", "autol2_fc", lambda: worlds.autol2("autol2_fc", l2s=(1e-3, 1e-2)), OPEN, "at an end of its grid"),
    ("10", "autol2_fc", lambda: worlds.autol2("autol2_fc", seeds=(0,)), OPEN, "one seed"),
    ("11", SCHEDULE, lambda: worlds.autol2(SCHEDULE, gain=0.02), NO, "at the end"),
    (
        "11",
        SCHEDULE,
        lambda: worlds.autol2(SCHEDULE, gain=-0.02, speed=0.5),
        NO,
        "before the first decay",
    ),
    ("12", "fc", lambda: worlds.sweep("fc", fit=-0.5), NO, "exponent on η"),
    (
        "12",
        "fc",
        lambda: worlds.sweep("fc", etas=(0.05, 0.15, 0.3)),
        OPEN,
        "a third of the largest that trains",
    ),
    ("13-eta", "fc_mse", lambda: worlds.fc_mse(early=0.0, late=0.05), NO, "below 0"),
    ("13-loss", "fc_mse", lambda: worlds.fc_mse(rises=False), NO, "below 1"),
    ("13", "fc_mse", lambda: worlds.fc_mse(rises=False), NO, "13-loss"),
    ("13-loss", "fc_mse", lambda: worlds.fc_mse(length=2.0), OPEN, "no run with λ > 0 lasts 3/(ηλ)"),
    ("14-fc_small-accuracy", "fc_small", lambda: worlds.fc_small(plateau=True), NO, "a plateau"),
    ("14-fc_small-accuracy", "fc_small", lambda: worlds.fc_small(fits=1.0), OPEN, "not under-parametrised"),
    ("14-fc_small-time", "fc_small", lambda: worlds.fc_small(grows=-1.0), NO, "below −0.5"),
    ("14", "fc_small", lambda: worlds.fc_small(grows=-1.0), NO, "14-fc_small-time"),
    ("14-resnet-budget", "resnet", lambda: worlds.resnet(plateau=True), NO, "a plateau"),
    ("14-resnet-product", "resnet", lambda: worlds.resnet(seeds=(0,)), OPEN, "one seed"),
    ("15", "wrn_sigma", lambda: worlds.wrn_sigma(long=0.06, short=0.1), NO, "outside −0.02 … 0.02"),
    ("15", "wrn_sigma", lambda: worlds.wrn_sigma(short=0.0), OPEN, "on both sides of 0"),
    ("15", "wrn_sigma", lambda: worlds.wrn_sigma(short=0.0, fixed=0.05), YES, "above 0"),
    ("15", "wrn_sigma", lambda: worlds.wrn_sigma(short=0.05, fixed=0.0), OPEN, "without scatter"),
    ("15", "wrn_sigma", lambda: worlds.wrn_sigma(fixed=0.05, within=2e3), OPEN, "no runs are shorter"),
    ("c3", "wrn_aug", lambda: worlds.wrn_aug(budgets=()), OPEN, "has no runs of group predicted"),
    ("c8", "fc", lambda: worlds.sweep("fc", l2s=FEW), OPEN, "3 λ, fewer than 5"),
    (
        "x1",
        "cnn_bn_adamw",
        lambda: worlds.budgeted("cnn_bn_adamw", exponent=-0.5),
        NO,
        "outside −1.25 … −0.75",
    ),
    ("x1", "cnn_bn_adamw", lambda: worlds.budgeted("cnn_bn_adamw", etas=(0.004,)), OPEN, "it takes 4"),
    ("x1", "cnn_bn_adamw", lambda: worlds.budgeted("cnn_bn_adamw", l2s=(10, 20, 30)), OPEN, "it takes 4"),
    ("x1", "cnn_bn_adamw", lambda: worlds.budgeted("cnn_bn_adamw", seeds=(0,)), OPEN, "one seed"),
    ("x1", "cnn_bn_adamw", lambda: worlds.budgeted("cnn_bn_adamw", fits=0.9), OPEN, "outside the regime"),
    ("x1-time", "cnn_bn_adamw", lambda: worlds.budgeted("cnn_bn_adamw", exponent=-2.0), NO, "outside"),
    (
        "x2",
        "autol2_wrn_cosine",
        lambda: worlds.autol2("autol2_wrn_cosine", own=-0.05),
        NO,
        "as printed at the end",
    ),
    (
        "x2",
        "autol2_wrn_cosine",
        lambda: worlds.autol2("autol2_wrn_cosine", gain=0.01),
        NO,
        "as printed at the end",
    ),
    ("x2", "autol2_wrn_cosine", lambda: worlds.autol2("autol2_wrn_cosine", seeds=(0,)), OPEN, "one seed"),
    (
        "x2",
        "autol2_wrn_cosine",
        lambda: worlds.autol2("autol2_wrn_cosine", l2s=(0.0, 1e-4, 1e-3)),
        OPEN,
        "is the largest of its grid",
    ),
    (
        "x3",
        "cnn_bn_l2_invariant",
        lambda: worlds.on_some("cnn_bn_l2_invariant", prefactor=0.7, length=16),
        NO,
        "log of t*",
    ),
    (
        "x3",
        "cnn_bn_l2_invariant",
        lambda: worlds.on_some("cnn_bn_l2_invariant", large=0.2),
        NO,
        "below −0.01",
    ),
    (
        "x3",
        "cnn_bn_l2_invariant",
        lambda: worlds.on_some("cnn_bn_l2_invariant", length=1.2),
        OPEN,
        "first half",
    ),
    (
        "x3",
        "cnn_bn_l2_invariant",
        lambda: worlds.on_some("cnn_bn_l2_invariant", seeds=(0,)),
        OPEN,
        "one seed",
    ),
    (
        "x3-eta",
        "cnn_bn_l2_all",
        lambda: worlds.on_some("cnn_bn_l2_all", prefactor=0.5, length=12),
        NO,
        "exponent of t* on η",
    ),
    (
        "x3-eta",
        "cnn_bn_l2_all",
        lambda: worlds.on_some("cnn_bn_l2_all", etas=(0.01, 0.04)),
        OPEN,
        "at 2 of 2 η",
    ),
    ("x3-angle", "cnn_bn_l2_all", lambda: worlds.on_some("cnn_bn_l2_all", ratio=0.5), NO, "outside"),
    ("x3-angle", "cnn_bn_l2_all", lambda: worlds.sweep("cnn_bn_l2_all"), OPEN, "set weight_norms"),
    ("x4", "fc", lambda: worlds.sweep("fc", zero=0.85), NO, "below −0.01"),
    ("x4", "fc_minibatch", lambda: worlds.sweep("fc_minibatch", zero=0.7), NO, "minus that in minibatches"),
    ("x4", "fc_minibatch", lambda: worlds.sweep("fc_minibatch", etas=(0.9,)), OPEN, "share no η"),
]


@pytest.mark.parametrize(
    ("id", "name", "make", "verdict", "words"), BROKEN, ids=[f"{id}-{words}" for id, *_, words in BROKEN]
)
def test_what_breaks_a_law_or_is_too_little_is_judged_so(world, id, name, make, verdict, words):
    claim = ONE[id]({**world, name: make()})
    assert (claim.verdict, words in claim.reason) == (verdict, True), claim


def test_a_setup_outside_the_regime_judges_nothing_but_is_named(world):
    changed = regimes.Study({**world, "cnn": worlds.sweep("cnn", fits=0.9, zero=0.85)})
    whole, *rows = accuracies.evaluate(changed)
    assert whole.id == "03"
    found = {row.id: row for row in rows if row.id.startswith("03-")}
    assert (found["03-cnn"].verdict, found["03-fc"].verdict) == (OPEN, YES)
    assert "training accuracy 0.900 at λ = 0" in found["03-cnn"].reason
    assert (whole.verdict, whole.n) == (YES, 4)
    assert whole.regime.startswith("cnn: training accuracy 0.900")


def test_without_runs_and_without_groups_there_is_a_reason_and_no_error(world):
    empty = {
        name: replace(one, table=one.table[one.table["seed"] < 0]) if name != "measure_c" else one
        for name, one in world.items()
    }
    assert {record["verdict"] for id, record in evaluation.evaluate(empty).items() if id < "c"} == {OPEN}
    single = {name: replace(one, table=one.table[one.table["seed"] == 0]) for name, one in world.items()}
    assert {record["verdict"] for id, record in evaluation.evaluate(single).items() if id < "c"} == {OPEN}


def test_networks_that_never_learn_or_diverge_decide_nothing(world):
    broken = {}
    for name, one in world.items():
        table = one.table.copy()
        table.loc[table["step"] > 0, ["test_accuracy", "train_loss", *worlds.BLOCKS]] = np.nan
        broken[name] = replace(one, table=table)
    assert {record["verdict"] for id, record in evaluation.evaluate(broken).items() if id < "c"} == {OPEN}


def test_autol2_that_measures_more_often_is_not_the_printed_one(world):
    often = world["autol2_fc"]
    often = replace(often, passport=often.passport | {"config": {"controller": {"every": 5}}})
    claim = ONE["10"]({**world, "autol2_fc": often})
    assert (claim.verdict, claim.reason) == (OPEN, "fc: AutoL2 measured every 5 steps, not every 10")


def test_the_tuned_l2_may_be_zero(world):
    """The same runs under exchanged labels: accuracy and speed are those of the best, whatever its λ."""
    own = worlds.autol2("autol2_fc", speed=0.4)
    constant = own.table["group"] == "constant"
    exchanged = own.table["l2"].mask(constant, own.table["l2"].replace({0.0: 1e-3, 1e-3: 0.0}))
    other = replace(own, table=own.table.assign(l2=exchanged))
    one, two = (ONE["10"]({**world, "autol2_fc": table}) for table in (own, other))
    assert one.verdict is two.verdict is NO
    assert one.reason == two.reason
    assert (one.measured, one.low, one.high) == (two.measured, two.low, two.high)


def test_the_time_of_the_tuned_l2_is_not_that_of_the_half_that_chose_it(world):
    """Each of two λ is early and good on the half of the images that chooses it, late on the other."""
    own = worlds.autol2("autol2_fc")
    table, early, late, half = own.table.copy(), 10, 1000, len(BLOCKS) // 2
    first, second = (
        sorted(table.loc[table["group"] == "constant", "l2"].unique())[place] for place in (1, 2)
    )
    sizes = block_sizes(worlds.IMAGES)
    for l2, good in ((first, slice(0, half)), (second, slice(half, None))):
        rows = (table["group"] == "constant") & (table["l2"] == l2)
        after = table.loc[rows, "step"].to_numpy()[:, None]
        share = np.tile(0.5 * (after >= late), len(BLOCKS))
        share[:, good] = 0.9 * (after >= early) + 0.01 * (after >= late)
        table.loc[rows, list(BLOCKS)] = np.rint(share * sizes).astype(table[BLOCKS[0]].dtype)
    others = table["group"].eq("constant") & ~table["l2"].isin([first, second])
    table.loc[others, list(BLOCKS)] = 0
    auto = ~table["group"].eq("constant")
    reached = 0.6 * (table.loc[auto, "step"].to_numpy()[:, None] >= early)
    table.loc[auto, list(BLOCKS)] = np.rint(reached * sizes).astype(table[BLOCKS[0]].dtype)
    found = adaptive.as_printed({**world, "autol2_fc": replace(own, table=table)}, "autol2_fc")
    times = found.numbers[1].value
    steps = table["step"].to_numpy()
    assert times == pytest.approx(np.log(steps[steps >= late].min() / steps[steps >= early].min()))


def test_missing_results_name_the_stage(world):
    some = {name: one for name, one in world.items() if name != "autol2_cnn"}
    with pytest.raises(ValueError, match="dvc repro autol2@cnn"):
        evaluation.evaluate(some)


def test_the_measured_coefficient_is_carried_to_another_rate(world):
    assert coefficients.c_at(world["measure_c"], "fc", 0.3) == pytest.approx(0.7 / 0.3)
    whole, *_ = coefficients.evaluate(world)
    assert (whole.id, whole.verdict, whole.kind) == ("c2", YES, base.OURS)


# ------------------------------------------------------------------------------------------------- over setups


POSITIVE = Spec("99", "It is positive.", "True if above 0.", lambda n: [checks.better("it", n[0])])


def part(world, name, value, se=0.01, **more):
    estimate = Estimate(value, se, 10.0, n_seeds=4, parts=Parts(seeds=se**2))
    return Part(name, (world["fc"],), f"{name}: it is positive.", (estimate,), figure="fig2", **more)


def test_a_setup_that_contradicts_a_confirmed_claim_is_an_exception(world):
    setups = [
        part(world, name, value)
        for name, value in (("a", 0.09), ("b", 0.1), ("c", 0.11), ("d", 0.1), ("e", -0.05))
    ]
    whole, *rows = judging.over_setups(replace(POSITIVE, pool=False), setups)
    assert (whole.verdict, whole.exceptions) == (YES, "e")
    assert [row.verdict for row in rows] == [YES] * 4 + [NO]
    assert "4 of 5 setups confirm it, 1 contradict it" in whole.claim
    assert rows[-1].id == "99-e"


def test_setups_are_corrected_for_their_number(world):
    setups = [part(world, name, value) for name, value in (("a", 0.024), ("b", 0.0), ("c", 0.0))]
    alone, *_ = judging.over_setups(POSITIVE, setups[:1])
    _, row, *_ = judging.over_setups(POSITIVE, setups)
    assert (alone.verdict, row.verdict) == (YES, OPEN)
    assert "not after Holm's correction over 3 setups" in row.reason


def test_the_mean_over_setups_is_judged_and_says_what_would_decide(world):
    setups = [part(world, name, value, 0.05) for name, value in (("a", 0.02), ("b", 0.03))]
    whole, *rows = judging.over_setups(POSITIVE, setups)
    assert whole.verdict is OPEN
    assert whole.measured == pytest.approx(0.025)
    assert "mean over setups of it: 95% interval" in whole.reason
    assert "seeds" in rows[0].power
    assert whole.power == "; ".join(f"{row.id}: {row.power}" for row in rows)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"lacks": "too few"}, "a: too few"),
        ({"outside": ("too small",)}, "every setup is outside the regime"),
    ],
)
def test_a_claim_without_a_setup_that_judges_says_why(world, more, reason):
    whole, row = judging.over_setups(POSITIVE, [replace(part(world, "a", 0.1), numbers=(), **more)])
    assert (whole.verdict, whole.reason, row.verdict) == (OPEN, reason, OPEN)
    assert whole.measured is math.nan or math.isnan(whole.measured)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [((0.1, 0.1), YES), ((0.1, 0.0), OPEN), ((0.1, -0.1), NO), ((0.1, -0.022), OPEN)],
)
def test_parts_must_all_hold_and_one_contradicts(world, values, verdict):
    found = [(POSITIVE, part(world, name, value)) for name, value in zip("ab", values, strict=True)]
    whole, *rows = parts.together("99", "All are.", "True if all are.", found)
    assert whole.verdict is verdict
    assert whole.measured == np.mean([row.verdict is YES for row in rows])


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (checks.within("x", Estimate(0.5, 0.01, 9.0, 3), 0.0, 1.0), "inside 0 … 1"),
        (checks.within("x", Estimate(2.0, 0.01, 9.0, 3), 0.0, 1.0), "outside 0 … 1"),
        (checks.within("x", Estimate(1.0, 0.01, 9.0, 3), 0.0, 1.0), "neither inside nor outside 0 … 1"),
        (checks.at_most("x", Estimate(0.5, 0.01, 9.0, 3), 1.0), "below 1"),
        (checks.better("x", Estimate(0.5, 0.01, 9.0, 3)), "above 0"),
        (checks.better("x", Estimate(0.0, 0.01, 9.0, 3)), "on both sides of 0"),
        (checks.better("x", Estimate(0.5, math.nan, 9.0, 3)), "has no standard error"),
        (checks.better("x", Estimate(math.nan, math.nan, 9.0, 3)), "cannot be measured"),
        (checks.blocked(checks.better("x", Estimate(0.5, 0.01, 9.0, 3)), "a reason"), "but a reason"),
        (
            checks.blocked(checks.better("x", Estimate(0.5, math.nan, 9.0, 3)), "a reason"),
            "x is 0.5, but a reason",
        ),
    ],
)
def test_a_reason_is_the_interval_against_the_bounds(check, words):
    assert check.reason.endswith(words)


# ------------------------------------------------------------------------------------------------------- files


def test_files_are_replaced_and_stale_ones_removed(judged, tmp_path):
    folder = tmp_path / "claims"
    evaluation.write(judged, folder)
    assert evaluation.read(folder) == judged
    assert list(evaluation.read(folder)) == list(judged)
    before = (folder / "01-fc.json").read_bytes()
    evaluation.write({"01-fc": judged["01-fc"]}, folder)
    assert [path.name for path in folder.iterdir()] == ["01-fc.json"]
    assert (folder / "01-fc.json").read_bytes() == before


@pytest.mark.parametrize(
    ("id", "change", "message"),
    [
        ("01", {"extra": 1}, "'extra' is missing or too much"),
        ("../01", {}, "letters, digits"),
    ],
)
def test_odd_records_are_refused_before_anything_is_written(judged, tmp_path, id, change, message):
    with pytest.raises(ValueError, match=message):
        evaluation.write({"00": judged["01"], id: judged["01"] | change}, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no claims"), ("{", "is not JSON"), ('{"claim": "x"}', "other keys")]
)
def test_unreadable_claims_name_the_stage(tmp_path, content, message):
    if content is not None:
        (tmp_path / "01.json").write_text(content)
    with pytest.raises(ValueError, match=rf"{message}.*dvc repro claims"):
        evaluation.read(tmp_path)


def test_the_table_of_regimes_says_what_every_setup_lacks(world, tmp_path):
    evaluation.write_regimes(world, tmp_path / "claims")
    rows = {row["setup"]: row for row in evaluation.read_regimes(tmp_path / "claims")}
    assert tuple(rows) == regimes.SETUPS
    study = regimes.Study(world)
    for name, row in rows.items():
        assert tuple(row["reasons"]) == regimes.outside(study, name)
        found = regimes.of(study, name)
        assert row["train_accuracy"] == pytest.approx(found.train_accuracy, nan_ok=True)
        ends = (found.plateau[0], found.plateau[-1]) if found.plateau else (None, None)
        assert (row["smallest_l2"], row["largest_l2"]) == ends
    bare = dict(world.items())
    fc = bare["fc"]
    bare["fc"] = replace(fc, table=fc.table[fc.table["l2"] > 0])
    (row,) = [row for row in regimes.table(bare) if row["setup"] == "fc"]
    assert math.isnan(row["train_accuracy"])
    assert "no run with λ = 0" in row["reasons"]
