"""Scale ``paper`` against the numbers of SM A, typed here a second time; all scales validate."""

import math

import jax
import numpy as np
import pytest
from places import ROOT
from small_setups import hyper

from l2dynamics.data.datasets import Dataset, channel_statistics
from l2dynamics.experiments import registry, scales
from l2dynamics.experiments.runs import of_autol2, of_measure_c, of_sweep
from l2dynamics.experiments.scales import load_section
from l2dynamics.experiments.schema import AutoL2Sweep, MeasureCs, Sweep
from l2dynamics.experiments.setup import Setup
from l2dynamics.models import networks
from l2dynamics.training.trainer import Trainer

TRAIN = {"mnist": 60_000, "cifar10": 50_000, "imagenet2012": 1_281_167}
ROOT2 = 2**0.5


def sweep(name, scale="paper"):
    return load_section(ROOT, scale, name, Sweep)


def specs(name, c=0.00656):
    """Every run of a sweep of scale paper."""
    of = sweep(name)
    return of_sweep(name, of, per_epoch(of.setup), 0, c if of.predicted else None)


def per_epoch(setup):
    return math.ceil((setup.data.train or TRAIN[setup.data.name]) / setup.batch)


def lengths(name, group="grid"):
    return {(s.eta, s.l2): s.epochs for s in specs(name) if s.group == group}


# ------------------------------------------------------------------------------------------ every scale

#: AutoL2 sweeps that measure on the minibatch alone, by scale: a second variant would double them.
OURS = ("wrn_cosine", "cnn_bn_schedule", "cnn_bn_cosine")
ONLY_MINIBATCH = {"laptop": registry.AUTOL2, "workstation": ("wrn", "wrn_schedule", "fc")}


@pytest.mark.parametrize("scale", scales.SCALES)
def test_every_section_validates_and_makes_runs(scale):
    for name in registry.SWEEPS:
        of = sweep(name, scale)
        made = of_sweep(name, of, per_epoch(of.setup), 0, 0.01 if of.predicted else None)
        assert len({s.slug for s in made}) == len(made)
    for name in registry.AUTOL2:
        auto = load_section(ROOT, scale, f"autol2.{name}", AutoL2Sweep)
        assert of_autol2(name, auto, per_epoch(auto.setup), 0)
        subset = set() if name in (*OURS, *ONLY_MINIBATCH.get(scale, ())) else {"subset"}
        assert set(auto.measures) == {"minibatch"} | subset
    measured = load_section(ROOT, scale, "measure_c", MeasureCs)
    for name in ("fc", "cnn", "wrn"):
        section = getattr(measured, name)
        assert of_measure_c(name, section, per_epoch(section.setup), 0)


@pytest.mark.parametrize("scale", scales.SCALES)
def test_what_belongs_together_shares_its_setup(scale):
    for name in registry.AUTOL2:
        other = sweep(
            {"wrn": "wrn_aug", **dict(zip(OURS, ("wrn_schedule", "cnn_bn", "cnn_bn"), strict=True))}.get(
                name, name
            ),
            scale,
        ).setup
        own = load_section(ROOT, scale, f"autol2.{name}", AutoL2Sweep)
        assert own.setup.model == other.model
        assert (own.own_init_l2 is not None) == (own.setup.schedule is not None)
        if name in OURS:
            same = {"schedule": None}
            assert own.setup.model_copy(update=same) == other.model_copy(update=same)
    assert load_section(ROOT, scale, "measure_c", MeasureCs).wrn.setup == sweep("wrn_aug", scale).setup
    assert sweep("wrn_sigma", scale).setup.schedule == sweep("wrn_schedule", scale).setup.schedule
    assert not sweep("cnn", scale).setup.model.batch_norm
    assert sweep("cnn_bn", scale).setup.model.batch_norm
    assert sweep("fc_mse", scale).setup.loss == "mse"
    for name in ("fc", "fc_mse"):
        of = sweep(name, scale).setup
        assert of.batch == of.data.train, "full batch"
    assert sweep("fc_minibatch", scale).setup.batch < sweep("fc", scale).setup.batch
    assert sweep("cnn_bn_full", scale).setup.batch > sweep("cnn_bn", scale).setup.batch
    for name in ("all", "invariant", "others"):
        of = sweep(f"cnn_bn_l2_{name}", scale)
        assert of.setup.l2_on == {"invariant": "scale_invariant"}.get(name, name)
        plain = {"l2_on": "all", "weight_norms": False}
        assert of.setup.model_copy(update=plain) == sweep("cnn_bn", scale).setup
        whole = sweep("cnn_bn_l2_all", scale).grids
        assert set(of.grids) <= set(whole)
        etas = {eta for grid in of.grids for eta in grid.eta}
        assert {eta for grid in whole if 0 in grid.l2 for eta in grid.eta} == etas
    for name in ("adamw", "adam"):
        assert sweep(f"cnn_bn_{name}", scale).setup.optimizer == name
        assert sweep(f"cnn_bn_{name}", scale).setup.model == sweep("cnn_bn", scale).setup.model
    for name in ("fc", "fc_mse", "fc_small", "cnn", "cnn_bn", "wrn"):
        of = sweep(name, scale).setup
        assert (of.momentum, of.augment, of.schedule) == (0.0, False, None), name
    for name in ("wrn_aug", "wrn_schedule", "wrn_sigma"):
        of = sweep(name, scale).setup
        assert (of.momentum, of.augment) == (0.9, scale not in ("laptop", "workstation")), name


@pytest.mark.parametrize("scale", scales.SCALES)
@pytest.mark.parametrize(("ours", "theirs"), [("fc_minibatch", "fc"), ("cnn_bn_full", "cnn_bn")])
def test_full_batches_and_minibatches_have_the_same_eta_l2_and_steps(scale, ours, theirs):
    def steps(name):
        of = sweep(name, scale)
        made = of_sweep(name, of, per_epoch(of.setup), 0)
        return {(spec.eta, spec.l2): spec.steps for spec in made}

    mine, other = steps(ours), steps(theirs)
    assert set(mine) <= set(other)
    for (eta, l2), count in mine.items():
        if l2:
            assert count == pytest.approx(other[eta, l2], abs=1)
    assert all(min(mine[eta, 0.0], other[eta, 0.0]) >= 0.99 * max(mine.values()) for eta, _ in mine)


@pytest.mark.parametrize("scale", ["smoke", "laptop", "workstation"])
def test_small_scales_fit_the_embedded_samples(scale):
    for name in registry.SWEEPS:
        data = sweep(name, scale).setup.data
        assert data.name in ("mnist", "cifar10")
        assert data.train <= {"mnist": 2048, "cifar10": 5000}[data.name]
        assert (data.test or 0) <= {"mnist": 10_000, "cifar10": 2000}[data.name]


# ------------------------------------------------------------------------------------------ SM A, setups

FC = {
    "data": {"name": "mnist", "train": 512},
    "model": {"kind": "fc", "depth": 3, "width": 2048},
    "batch": 512,
    "sigma_w": ROOT2,
}
FC_SMALL = {
    "data": {"name": "cifar10"},
    "model": {"kind": "fc", "depth": 3, "width": 64},
    "batch": 512,
    "sigma_w": ROOT2,
}
CNN = {
    "data": {"name": "cifar10"},
    "model": {
        "kind": "cnn",
        "channels": 300,
        "dense": 500,
        "batch_norm": False,
        "pool_window": 6,
        "pool_stride": 1,
    },
    "batch": 128,
    "sigma_w": ROOT2,
}
CNN_BN = CNN | {"model": CNN["model"] | {"batch_norm": True}}
WRN = {
    "data": {"name": "cifar10"},
    "model": {"kind": "wrn", "depth": 28, "widen": 10},
    "batch": 1024,
    "bn_group": 128,
    "sigma_w": 1.0,
}
WRN_AUG = WRN | {"momentum": 0.9, "augment": True}
WRN_SCHEDULE = WRN_AUG | {"schedule": {"factor": 0.2, "at": [0.3, 0.6, 0.9]}}
SETUPS = {
    "fc": FC,
    "fc_mse": FC | {"loss": "mse"},
    "fc_small": FC_SMALL,
    "cnn": CNN,
    "cnn_bn": CNN_BN,
    "wrn": WRN,
    "wrn_aug": WRN_AUG,
    "wrn_schedule": WRN_SCHEDULE,
    "wrn_sigma": WRN_SCHEDULE,
}


def assert_setup(found: Setup, wanted):
    """Equal in everything but how it is evaluated, which SM A does not give."""
    silent = {"eval_batch": found.eval_batch, "eval_train": found.eval_train}
    assert found == Setup.model_validate(wanted | silent)
    # Every batch-norm net is evaluated in large batches of one size.
    data = found.data
    test = {"mnist": 10_000, "cifar10": 10_000, "imagenet2012": 50_000}[data.name]
    if found.model.kind != "fc":
        assert found.eval_batch >= 128
        assert test % found.eval_batch == 0
        assert (found.eval_train or TRAIN[data.name]) % found.eval_batch == 0


@pytest.mark.parametrize("name", SETUPS)
def test_setups_are_those_of_the_paper(name):
    assert_setup(sweep(name).setup, SETUPS[name])


def test_resnet_50_on_imagenet():
    of = sweep("resnet").setup
    assert (of.data.name, of.data.train, of.data.image_size) == ("imagenet2012", None, 224)
    assert of.model.model_dump() == {
        "kind": "resnet",
        "blocks": (3, 4, 6, 3),
        "width": 64,
        "stem": "imagenet",
    }
    assert (of.batch, of.loss, of.momentum) == (8192, "softmax", 0.9)
    assert of.schedule is not None
    assert {s.steps for s in specs("resnet") if s.group == "grid"} == {14_232}


@pytest.mark.parametrize(
    ("name", "shape", "classes", "millions"),
    [
        ("fc", (28, 28, 1), 10, 10.02),
        ("cnn", (32, 32, 3), 10, 51.04),
        ("wrn", (32, 32, 3), 10, 36.48),
        ("resnet", (224, 224, 3), 1000, 25.56),
    ],
)
def test_networks_have_the_paper_s_sizes(name, shape, classes, millions):
    module = networks.build(**sweep(name).setup.model.model_dump(), classes=classes)
    params = jax.eval_shape(
        lambda key: networks.initialize(module, key, (1, *shape), sigma_w=1.0), jax.random.key(0)
    )
    total = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))
    assert total / 1e6 == pytest.approx(millions, abs=0.01)


# ------------------------------------------------------------------------------------------ SM A, grids


def assert_lengths(found, etas, l2s, rule, zero):
    wanted = {(eta, l2): zero(eta) if l2 == 0 else rule(eta, l2) for eta in etas for l2 in l2s}
    assert set(found) == set(wanted)
    for point, epochs in wanted.items():
        assert found[point] == pytest.approx(epochs, rel=1e-9), point


def test_fc():
    etas = (0.0025, 0.01, 0.02, 0.025, 0.03, 0.05, 0.08, 0.15, 0.3, 0.5, 1, 1.5, 2, 5, 10, 25, 50)
    l2s = (0, 1e-5, 1e-4, 5e-4, 1e-3, 5e-3, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 20, 50, 100)
    assert_lengths(lengths("fc"), etas, l2s, lambda eta, l2: 2 / (eta * l2), lambda eta: 1e6 / eta)
    assert {s.steps == max(1, round(s.epochs)) for s in specs("fc")} == {True}, "one step is one epoch"


def test_fc_mse():
    etas = (0.001, 0.005, 0.01, 0.02, 0.035, 0.05, 0.15, 0.3)
    l2s = (0, 1e-5, 1e-4, 5e-4, 1e-3, 5e-3, 0.01, 0.05, 0.1, 0.5, 1, 5, 50, 100)
    assert_lengths(lengths("fc_mse"), etas, l2s, lambda eta, l2: 1 / (eta * l2), lambda eta: 1e5 / eta)


def test_fc_small():
    assert {s.eta for s in specs("fc_small")} == {0.1}
    assert 0 in {s.l2 for s in specs("fc_small")}


@pytest.mark.parametrize(("name", "zero"), [("cnn", 21_000), ("cnn_bn", 9_500)])
def test_cnn(name, zero):
    l2s = (0, 5e-5, 1e-4, 5e-4, 1e-3, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2)
    assert_lengths(lengths(name), (0.01,), l2s, lambda eta, l2: 0.01 / (eta * l2), lambda eta: zero)
    assert {round(s.steps / s.epochs) for s in specs(name) if s.epochs >= 1} == {391}


def test_wrn():
    found = lengths("wrn")
    etas = [0.0125 * 2**i for i in range(8)]
    l2s = (1.5625e-5, 6.25e-5, 1.25e-4, 2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 0.016)
    wanted = {(eta, l2): 0.1 / (eta * l2) for eta in etas for l2 in l2s}
    wanted = {point: epochs for point, epochs in wanted.items() if epochs <= 4000.001}
    wanted |= {(0.2, 6.25e-5): 8000.0} | {(eta, 0.0): 10_000.0 for eta in etas}
    assert set(found) == set(wanted)
    for point, epochs in wanted.items():
        assert found[point] == pytest.approx(epochs, rel=1e-9), point
    assert per_epoch(sweep("wrn").setup) == 49


def test_wrn_aug_and_its_predictions():
    of = sweep("wrn_aug")
    assert {s.eta for s in specs("wrn_aug")} == {0.2}
    assert {l2 for _, l2 in lengths("wrn_aug")} == {5e-6, 1e-5, 5e-5, 1e-4, 2e-4, 4e-4, 1e-3, 2e-3}
    assert of.predicted.c_of == "wrn"
    # The λ that the paper prints for c = 0.00656, to three digits.
    printed = {
        50: 1.31e-4,
        100: 6.56e-5,
        250: 2.63e-5,
        500: 1.31e-5,
        1000: 6.56e-6,
        1500: 4.38e-6,
        2000: 3.28e-6,
    }
    for group, multiple in (("predicted", 1), ("predicted_double", 2)):
        found = {s.epochs: s.l2 for s in specs("wrn_aug") if s.group == group}
        assert set(found) == set(printed)
        for budget, l2 in printed.items():
            assert found[budget] == pytest.approx(multiple * l2, rel=5e-3)
    assert min(lengths("wrn_aug").values()) >= max(printed), "the grid outlasts every budget"


def test_wrn_schedule():
    fixed, scaled = lengths("wrn_schedule", "fixed"), lengths("wrn_schedule", "scaled")
    assert {eta for eta, _ in fixed} == {0.2}
    assert set(fixed) == set(scaled)
    assert set(fixed.values()) == {200.0}
    assert scaled[0.2, 5e-4] == pytest.approx(200)
    for (_, l2), epochs in scaled.items():
        assert epochs == pytest.approx(0.1 / l2)


def test_wrn_sigma():
    found = specs("wrn_sigma")
    assert len({s.sigma_w for s in found}) >= 3
    assert 1.0 in {s.sigma_w for s in found}
    for s in found:
        assert s.epochs == pytest.approx(0.1 / s.l2)


def test_measure_c():
    of = load_section(ROOT, "paper", "measure_c", MeasureCs).wrn
    assert_setup(of.setup, WRN_AUG)
    (run,) = of_measure_c("wrn", of, per_epoch(of.setup), 0)
    assert (run.eta, run.l2, run.epochs, run.steps) == (0.2, 0.01, 2.0, 98)


@pytest.mark.parametrize(
    ("name", "setup", "eta", "epochs"),
    [
        ("wrn", WRN_AUG, 0.2, 200),
        ("wrn_schedule", WRN_SCHEDULE, 0.2, 200),
        ("fc", FC, 0.15, None),
        ("cnn", CNN, 0.01, None),
        ("cnn_bn", CNN_BN, 0.01, None),
    ],
)
def test_autol2(name, setup, eta, epochs):
    of = load_section(ROOT, "paper", f"autol2.{name}", AutoL2Sweep)
    assert_setup(of.setup, setup)
    assert of.eta == eta
    assert epochs is None or of.epochs == epochs
    assert 0.1 in of.init_l2
    assert of.controller.model_dump() == {"decay": 0.1, "every": 10, "refractory": 0.1}


# ------------------------------------------------------------------------------------------ one real step


def fake(setup, side, channels, count):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, side, side, channels)).astype(np.uint8)
    labels = rng.integers(0, 10, count).astype(np.int32)
    mean, std = channel_statistics(images)
    return Dataset(setup.data.name, "tfds", "0", 10, images, labels, images[:8], labels[:8], mean, std, "")


def step_is_finite_and_descends(setup, data, eta=0.05):
    trainer = Trainer(setup, data)
    hp = hyper(eta=eta, l2=1e-3, sigma_w=setup.sigma_w, decays=(5, 6, 7) if setup.schedule else ())
    state = trainer.init(hp)
    before = trainer.evaluate(state, hp)
    after = trainer.evaluate(trainer.advance(state, hp, 0, 1), hp)
    assert np.isfinite(list(after.values())).all()
    assert after["train_loss"] < before["train_loss"]
    return before


def test_one_step_of_the_paper_s_fc():
    of = sweep("fc").setup
    before = step_is_finite_and_descends(of, fake(of, 28, 1, 512))
    assert before["l2_norm"] == pytest.approx((2 * (2048 + 2048 + 2048 + 10)) ** 0.5, rel=0.01), (
        "‖θ‖² = Σ σw² · outputs"
    )


@pytest.mark.parametrize(("name", "side", "channels"), [("fc_mse", 28, 1), ("fc_small", 32, 3)])
def test_one_step_of_the_paper_s_other_fully_connected_nets(name, side, channels):
    # The smallest η of the paper's grid: with MSE, random images diverge at 0.05.
    of, eta = sweep(name).setup, min(eta for grid in sweep(name).grids for eta in grid.eta)
    step_is_finite_and_descends(of, fake(of, side, channels, of.batch), eta)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cnn", "cnn_bn", "wrn", "wrn_aug", "wrn_schedule", "resnet"])
def test_one_step_of_the_paper_s_convolutional_nets(name):
    # The whole network on a few images: the paper's batches need the memory of eight accelerators.
    of = sweep(name).setup.model_copy(
        update={"batch": 4, "bn_group": None if name == "cnn" else 2, "eval_batch": 4}
    )
    trainer = Trainer(of, fake(of, 224 if name == "resnet" else 32, 3, 4))
    hp = hyper(eta=0.01, l2=1e-3, sigma_w=of.sigma_w, decays=(5, 6, 7) if of.schedule else ())
    state = trainer.advance(trainer.init(hp), hp, 0, 1)
    assert np.isfinite(list(trainer.evaluate(state, hp).values())).all()
