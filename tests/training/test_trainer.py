"""The trainer against a numpy one, against itself in other forms, and against AutoL2 by hand."""

import json
import math
import os
import subprocess
import sys
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import TESTS
from small_setups import dataset, hyper, setup

from l2dynamics.autol2 import AutoL2
from l2dynamics.experiments.runs import RunSpec
from l2dynamics.results.columns import BLOCKS
from l2dynamics.running.clock import Clock
from l2dynamics.running.hosts import Crew
from l2dynamics.training.evaluation import evaluation_steps
from l2dynamics.training.losses import LOSSES
from l2dynamics.training.regularization import squared_norm
from l2dynamics.training.trainer import Trainer
from l2dynamics.training.update import NEVER, Hyper, hyper_of


def arrays(tree):
    """Leaves as float64 numpy arrays."""
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tree)]


def assert_close(one, other, rtol=2e-5, atol=2e-6):
    for a, b in zip(arrays(one), arrays(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def assert_identical(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def assert_same_metrics(one, other, **tolerances):
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], err_msg=name, **tolerances)


def train(trainer, hp, steps, pieces=()):
    run = trainer.init(hp)
    bounds = [0, *pieces, steps]
    for start, stop in pairwise(bounds):
        run = trainer.advance(run, hp, start, stop)
    return run


# ------------------------------------------------------------------------------------------ numpy, step by step


class NumpyFc:
    """Fully connected ReLU network, loss, gradient and update in float64, written from the paper alone."""

    def __init__(self, params, data, loss):
        names = [f"Dense_{i}" for i in range(len(params))]
        self.w = [np.asarray(params[name]["kernel"], np.float64) for name in names]
        self.b = [np.asarray(params[name]["bias"], np.float64) for name in names]
        pixels = data.train_images.astype(np.float64) / 255
        x = (pixels - pixels.mean((0, 1, 2))) / pixels.std((0, 1, 2))
        self.x, self.y, self.loss = x.reshape(len(x), -1), np.eye(10)[data.train_labels], loss
        self.v, self.s = ([np.zeros_like(p) for p in self.w + self.b] for _ in range(2))

    def gradient(self, batch):
        x, y = self.x[batch], self.y[batch]
        hidden = [x]
        for w, b in zip(self.w[:-1], self.b[:-1], strict=True):
            hidden.append(np.maximum(hidden[-1] @ w + b, 0))
        f = hidden[-1] @ self.w[-1] + self.b[-1]
        if self.loss == "softmax":
            p = np.exp(f - f.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            value, delta = -np.sum(y * np.log(p)), p - y
        else:
            value, delta = np.sum((f - y) ** 2), 2 * (f - y)
        scale = 1 / (2 * 10 * len(x))
        delta = delta * scale
        gw, gb = [], []
        for layer in reversed(range(len(self.w))):
            gw.insert(0, hidden[layer].T @ delta)
            gb.insert(0, delta.sum(0))
            delta = (delta @ self.w[layer].T) * (hidden[layer] > 0)
        return value * scale, gw + gb

    def step(self, batch, eta, l2, momentum):
        _, grads = self.gradient(batch)
        params = self.w + self.b
        for v, p, g in zip(self.v, params, grads, strict=True):
            v *= momentum
            v += g + l2 * p
        for p, v in zip(params, self.v, strict=True):
            p -= eta * v

    def adam_step(self, batch, eta, l2, step, *, decoupled):
        """Kingma & Ba 2015 with L2 in the gradient; decoupled: Loshchilov & Hutter 2019."""
        _, grads = self.gradient(batch)
        for m, s, p, g in zip(self.v, self.s, self.w + self.b, grads, strict=True):
            g = g if decoupled else g + l2 * p
            m += 0.1 * (g - m)
            s += 0.001 * (g * g - s)
            scaled = m / (1 - 0.9 ** (step + 1)) / (np.sqrt(s / (1 - 0.999 ** (step + 1))) + 1e-8)
            p -= eta * (scaled + (l2 * p if decoupled else 0))


@pytest.mark.parametrize(
    ("loss", "batch", "momentum", "schedule", "sigma_b"),
    [
        ("softmax", 24, 0.0, None, 0.0),
        ("softmax", 24, 0.9, None, 0.1),
        ("softmax", 8, 0.0, None, 0.1),
        ("softmax", 10, 0.9, {"factor": 0.2, "at": [0.3, 0.6]}, 0.1),
        ("mse", 24, 0.0, {"factor": 0.2, "at": [0.5]}, 0.0),
        ("mse", 7, 0.5, None, 0.0),
    ],
)
def test_every_step_equals_numpy(loss, batch, momentum, schedule, sigma_b):
    of = setup(loss=loss, batch=batch, momentum=momentum, schedule=schedule, sigma_b=sigma_b)
    data = dataset(of)
    trainer = Trainer(of, data)
    decays = {0.3: (4, 8), 0.5: (6,)}[schedule["at"][0]] if schedule else ()
    hp = hyper(eta=0.4, l2=0.05, seed=3, decays=decays)
    run = trainer.init(hp)
    expected = NumpyFc(run.state.params, data, loss)
    per_epoch = -(-24 // batch)
    for step in range(12):
        metrics = trainer.evaluate(run, hp)
        value, _ = expected.gradient(np.arange(24))
        np.testing.assert_allclose(metrics["train_loss"], value, rtol=2e-5)
        norm = np.sqrt(sum((p**2).sum() for p in expected.w + expected.b))
        np.testing.assert_allclose(metrics["l2_norm"], norm, rtol=2e-5)
        order = np.asarray(trainer.order(hp, np.int32(step // per_epoch)))
        place = (step % per_epoch) * batch
        rows = order[[(place + i) % 24 for i in range(batch)]]
        rate = 0.4 * 0.2 ** sum(step >= decay for decay in decays)
        expected.step(rows, rate, 0.05, momentum)
        run = trainer.advance(run, hp, step, step + 1)
        names = [f"Dense_{i}" for i in range(3)]
        for index, name in enumerate(names):
            for key, mine in (("kernel", expected.w), ("bias", expected.b)):
                np.testing.assert_allclose(run.state.params[name][key], mine[index], rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("bucket", [None, 2])
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_adam_and_adamw_equal_numpy(optimizer, bucket):
    of = setup(optimizer=optimizer, batch=8, schedule={"factor": 0.2, "at": [0.5]}, sigma_b=0.1)
    data = dataset(of)
    trainer = Trainer(of, data, bucket=bucket)
    hp = one = hyper(eta=0.01, l2=0.3, seed=3, decays=(6,))
    if bucket:
        hp = Hyper(*(jnp.stack([field] * bucket) for field in one))
    run = trainer.init(hp)

    def params():
        return jax.tree.map(lambda leaf: leaf[-1] if bucket else leaf, run.state.params)

    expected = NumpyFc(params(), data, "softmax")
    for step in range(12):
        order = np.asarray(trainer.order(hp, np.int32(step // 3)))
        rows = (order[-1] if bucket else order)[(step % 3) * 8 :][:8]
        rate = 0.01 * (0.2 if step >= 6 else 1)
        expected.adam_step(rows, rate, 0.3, step, decoupled=optimizer == "adamw")
        run = trainer.advance(run, hp, step, step + 1)
        for index in range(3):
            for key, mine in (("kernel", expected.w), ("bias", expected.b)):
                found = params()[f"Dense_{index}"][key]
                # Adam divides what is left of sums that cancel by their own size.
                np.testing.assert_allclose(found, mine[index], rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize(
    ("schedule", "rate_of"),
    [
        (None, lambda step: 1.0),
        ({"factor": 0.2, "at": [0.2, 0.5]}, lambda step: 0.2 ** ((step >= 3) + (step >= 8))),
        (
            {"factor": 0.5, "at": [0.2, 0.5, 0.6]},
            lambda step: 0.5 ** ((step >= 3) + (step >= 8) + (step >= 9)),
        ),
        ({"shape": "cosine"}, lambda step: 0.5 * (1 + math.cos(math.pi * step / 15))),
    ],
)
def test_learning_rate_and_its_integral(schedule, rate_of):
    of = setup(schedule=schedule)
    update = Trainer(of, dataset(of)).update
    hp = hyper_of(of, [RunSpec("grid", 0.7, 0.0, 0, 1.0, epochs=5, steps=15)])
    rate, elapsed = jax.jit(update.learning_rate), jax.jit(update.elapsed)
    total = 0.0
    for step in range(16):
        assert float(rate(hp, np.int32(step))) == pytest.approx(0.7 * rate_of(step), abs=1e-6)
        assert int(elapsed(hp, np.int32(step))) == math.floor(total + 1e-4)
        total += rate_of(step)


def test_a_cosine_trains_with_its_rates():
    of = setup(schedule={"shape": "cosine"}, batch=24)
    data = dataset(of)
    trainer, constant = Trainer(of, data), Trainer(setup(batch=24), data)
    hp = hyper_of(of, [RunSpec("grid", 0.4, 0.05, 3, 1.0, epochs=6, steps=6)])
    run, other = trainer.init(hp), constant.init(hp)
    for step in range(6):
        run = trainer.advance(run, hp, step, step + 1)
        rate = 0.4 * 0.5 * (1 + math.cos(math.pi * step / 6))
        other = constant.advance(other, hp._replace(eta=jnp.float32(rate)), step, step + 1)
    assert_close(run.state.params, other.state.params, rtol=1e-5)


@pytest.mark.parametrize("l2_on", ["all", "scale_invariant", "others"])
def test_l2_acts_on_the_weights_it_is_asked_to(l2_on):
    of = setup("cnn_bn", l2_on=l2_on, weight_norms=True)
    data = dataset(of)
    trainer, without = Trainer(of, data), Trainer(setup("cnn_bn"), data)
    hp = hyper(eta=0.4, l2=0.05)
    before = trainer.init(hp)
    started = jax.tree.map(np.array, before.state.params)
    plain = without.advance(without.init(hp), hp._replace(l2=jnp.float32(0)), 0, 1).state.params
    after = trainer.advance(before, hp, 0, 1).state.params
    for layer, leaves in started.items():
        for name, leaf in leaves.items():
            invariant = name == "kernel" and layer in ("Conv_0", "Conv_1", "Conv_2")
            acts = {"all": True, "scale_invariant": invariant, "others": not invariant}[l2_on]
            expected = plain[layer][name] - (0.4 * 0.05 * leaf if acts else 0)
            np.testing.assert_allclose(after[layer][name], expected, rtol=1e-5, atol=1e-6)


def test_the_lengths_of_weights_tell_how_far_steps_turn_them():
    of = setup("cnn_bn", weight_norms=True)
    trainer = Trainer(of, dataset(of))
    eta, l2, layers = 0.4, 0.05, ("Conv_0", "Conv_1", "Conv_2")
    hp = hyper(eta=eta, l2=l2)
    run = trainer.init(hp)
    squares = dict.fromkeys(layers, 0.0)
    before = trainer.evaluate(run, hp)
    for step in range(40):
        kernels = {layer: np.array(run.state.params[layer]["kernel"], np.float64) for layer in layers}
        run = trainer.advance(run, hp, step, step + 1)
        for layer, old in kernels.items():
            new = np.asarray(run.state.params[layer]["kernel"], np.float64)
            axes = (0, 1, 2)
            cosine = (old * new).sum(axes) / np.sqrt((old**2).sum(axes) * (new**2).sum(axes))
            squares[layer] += np.mean(-2 * np.log(np.minimum(cosine, 1)))
    after = trainer.evaluate(run, hp)
    assert {name for name in after if name.startswith("log_norm_")} == {
        f"log_norm_{layer}" for layer in layers
    }
    for layer in layers:
        norms = np.sqrt((np.asarray(run.state.params[layer]["kernel"], np.float64) ** 2).sum((0, 1, 2)))
        assert after[f"log_norm_{layer}"] == pytest.approx(np.log(norms).mean(), rel=1e-5)
        growth = float(after[f"log_norm_{layer}"] - before[f"log_norm_{layer}"])
        # ln cos θ and ln (1 − ηλ) are exact where docs and analysis have −θ²/2 and −ηλ.
        assert squares[layer] == pytest.approx(2 * (growth - 40 * math.log1p(-eta * l2)), rel=0.01)


def test_numpy_gradient_is_that_of_finite_differences():
    of = setup(batch=24)
    data = dataset(of)
    params = Trainer(of, data).init(hyper()).state.params
    for loss in ("softmax", "mse"):
        net = NumpyFc(params, data, loss)
        _, grads = net.gradient(np.arange(24))
        for p, g in zip(net.w + net.b, grads, strict=True):
            place = tuple(0 for _ in p.shape)
            values = []
            for sign in (1, -1):
                p[place] += sign * 1e-6
                values.append(net.gradient(np.arange(24))[0])
                p[place] -= sign * 1e-6
            assert (values[0] - values[1]) / 2e-6 == pytest.approx(g[place], rel=1e-4, abs=1e-9)


# ------------------------------------------------------------------------------------------ data order, randomness


def test_the_order_is_a_function_of_seed_and_epoch():
    of = setup()
    data = dataset(of)
    one, other = Trainer(of, data), Trainer(of, data)
    epochs = {}
    for seed in (0, 1):
        for epoch in (0, 1, 2):
            order = np.asarray(one.order(hyper(seed=seed), np.int32(epoch)))
            assert sorted(order) == list(range(24))
            same = np.asarray(other.order(hyper(eta=9.0, l2=0.0, sigma_w=0.1, seed=seed), np.int32(epoch)))
            np.testing.assert_array_equal(order, same)
            epochs[seed, epoch] = tuple(order)
    assert len(set(epochs.values())) == 6


def test_an_epoch_visits_every_example_and_fills_its_last_batch_with_the_first_ones():
    of = setup(batch=10)
    trainer = Trainer(of, dataset(of))
    assert trainer.steps_per_epoch == of.steps_per_epoch(24) == 3
    order = trainer.order(hyper(), np.int32(1))
    batches = [np.asarray(trainer.update.indices(order, jnp.int32(step))) for step in (3, 4, 5)]
    visited = np.concatenate(batches)
    np.testing.assert_array_equal(visited[:24], np.asarray(order))
    np.testing.assert_array_equal(visited[24:], np.asarray(order)[:6])


def test_full_batch_keeps_the_order_of_the_data():
    of = setup(batch=24)
    np.testing.assert_array_equal(Trainer(of, dataset(of)).order(hyper(), np.int32(5)), np.arange(24))


def test_seeds_are_reproducible_and_differ():
    of = setup()
    trainer = Trainer(of, dataset(of))
    a, again, b = (train(trainer, hyper(seed=seed), 4) for seed in (0, 0, 1))
    assert_identical(a, again)
    assert not np.array_equal(jax.tree.leaves(a)[1], jax.tree.leaves(b)[1])


def test_sigma_w_scales_the_same_initial_weights():
    of = setup()
    trainer = Trainer(of, dataset(of))
    one, double = (trainer.init(hyper(sigma_w=s)).state.params for s in (1.0, 2.0))
    assert_close(jax.tree.map(lambda p: 2 * p, one), double, rtol=1e-6)


# ------------------------------------------------------------------------------------------ pieces, programs, forms


@pytest.mark.parametrize("model", ["fc", "cnn"])
@pytest.mark.parametrize("pieces", [(1,), (3,), (2, 5, 6)])
def test_cutting_a_run_into_pieces_changes_no_bit(model, pieces):
    of = setup(model, momentum=0.9)
    trainer = Trainer(of, dataset(of), rule=AutoL2(every=2))
    hp = hyper(eta=0.1)
    assert_identical(train(trainer, hp, 8), train(trainer, hp, 8, pieces))


def test_one_program_for_all_eta_l2_sigma_seed_schedule_and_length():
    of = setup(schedule={"factor": 0.2, "at": [0.5]}, momentum=0.9)
    trainer = Trainer(of, dataset(of))
    for index, (eta, l2) in enumerate([(0.1, 0.0), (0.2, 1e-3), (5.0, 0.1)]):
        hp = hyper(eta, l2, sigma_w=0.5 + index, seed=index, decays=(2 + index,))
        trainer.evaluate(train(trainer, hp, 7 + 10 * index, (1, 4)), hp)
    assert trainer.segment._cache_size() == 1
    assert trainer.start._cache_size() == 1
    assert trainer._evaluate._compiled._cache_size() == 1
    assert not trainer.dispatched


def test_runs_become_traced_values():
    specs = [RunSpec("grid", 0.1 * (i + 1), 0.01 * i, i, 1.0, 10.0, 30) for i in range(2)]
    of = setup(schedule={"factor": 0.2, "at": [0.3, 0.6, 0.9]})
    together, alone, plain = hyper_of(of, specs), hyper_of(of, specs[1:]), hyper_of(setup(), specs[1:])
    assert [leaf.shape for leaf in jax.tree.leaves(plain)] == [leaf.shape for leaf in jax.tree.leaves(alone)]
    assert together.decays.tolist() == [[9, 18, 27]] * 2
    assert (float(alone.factor), float(plain.factor)) == (pytest.approx(0.2), 1.0)
    assert plain.decays.tolist() == [NEVER] * 3
    for name, values in (("eta", [0.1, 0.2]), ("l2", [0.0, 0.01]), ("sigma_w", [1.0, 1.0]), ("seed", [0, 1])):
        np.testing.assert_allclose(getattr(together, name), values, rtol=1e-6)
        assert getattr(alone, name).shape == ()
        assert float(getattr(alone, name)) == pytest.approx(values[1])


def test_one_program_where_steps_are_dispatched():
    of = setup("cnn")
    trainer = Trainer(of, dataset(of))
    trainer.dispatched = True
    for index, (eta, l2) in enumerate([(0.1, 0.0), (0.2, 1e-3)]):
        train(trainer, hyper(eta, l2, sigma_w=0.5 + index, seed=index), 4 + index, (1,))
    assert trainer.step._cache_size() == trainer.order._cache_size() == 1


@pytest.mark.parametrize(("batch", "momentum"), [(8, 0.9), (24, 0.0)])
def test_a_bucket_equals_its_runs_one_by_one(batch, momentum):
    of = setup(batch=batch, momentum=momentum, schedule={"factor": 0.2, "at": [0.5]})
    data = dataset(of)
    singles = [
        hyper(0.3, 0.1, seed=0, decays=(4,)),
        hyper(1.0, 0.0, 1.0, seed=1, decays=(2,)),
        hyper(0.05, 1.0),
    ]
    together = Hyper(*(jnp.stack(field) for field in zip(*singles, strict=True)))
    bucket, single = Trainer(of, data, bucket=3), Trainer(of, data)
    trained = train(bucket, together, 9, (2,))
    found = bucket.evaluate(trained, together)
    assert {values.shape for values in found.values()} == {(3,)}
    for index, hp in enumerate(singles):
        alone = train(single, hp, 9)
        assert_close(jax.tree.map(lambda leaf, i=index: leaf[i], trained), alone, rtol=1e-4, atol=1e-5)
        mine = {name: values[index] for name, values in found.items()}
        assert_same_metrics(mine, single.evaluate(alone, hp), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("model", ["fc", "cnn", "cnn_bn"])
def test_dispatched_steps_equal_the_loop_on_the_device(model):
    of = setup(model, momentum=0.9)
    data = dataset(of)
    dispatched, looped = (Trainer(of, data, rule=AutoL2(every=2, refractory=0.0)) for _ in range(2))
    dispatched.dispatched, looped.dispatched = True, False
    hp = hyper(eta=0.05)
    one, other = train(dispatched, hp, 5, (2,)), train(looped, hp, 5, (2,))
    assert looped.segment._cache_size() == dispatched.step._cache_size() == 1
    assert_close(one, other, rtol=1e-4, atol=1e-5)


class Lazy:
    """Images that are not an array in memory."""

    def __init__(self, images):
        self.images, self.shape = images, images.shape

    def __getitem__(self, index):
        return self.images[index]

    def __len__(self):
        return len(self.images)


def test_images_decoded_on_demand_train_the_same():
    of = setup()
    data = dataset(of)
    lazy = type(data)(
        **{**vars(data), "train_images": Lazy(data.train_images), "test_images": Lazy(data.test_images)}
    )
    resident, fed = Trainer(of, data), Trainer(of, lazy)
    assert fed.dispatched
    hp = hyper()
    one, other = train(resident, hp, 7), train(fed, hp, 7)
    assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert_same_metrics(resident.evaluate(one, hp), fed.evaluate(other, hp), rtol=1e-5)


# ------------------------------------------------------------------------------------------ AutoL2


@pytest.mark.parametrize("clock", ["steps", "eta"])
@pytest.mark.parametrize("measure", ["minibatch", "subset"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_autol2_in_the_trainer_equals_a_loop_by_hand(measure, momentum, clock):
    of = setup(momentum=momentum)
    data = dataset(of)
    rule = AutoL2(init_l2=0.5, decay=0.5, every=2, refractory=0.2)
    # The run's λ is the one to start from; the rule's own start plays no role.
    trainer = Trainer(
        of, data, rule=AutoL2(77.0, decay=0.5, every=2, refractory=0.2), measure=measure, clock=clock
    )
    hp = hyper(eta=0.8, l2=0.5, decays=(8,), factor=0.5)
    run = trainer.init(hp)
    params, auto = run.state.params, rule.init()
    velocity = jax.tree.map(jnp.zeros_like, params)
    pixels = (data.train_images.astype(np.float32) / 255 - data.mean) / data.std
    targets = np.eye(10, dtype=np.float32)[data.train_labels]

    def loss(params, x, y):
        return jnp.mean(LOSSES["softmax"](trainer.update.module.apply({"params": params}, x), y))

    seen, time = set(), 0.0
    for step in range(30):
        order = np.asarray(trainer.order(hp, np.int32(step // 3)))
        rows = order[(step % 3) * 8 :][:8]
        if step and step % 2 == 0:
            chosen = rows if measure == "minibatch" else np.arange(12)
            logits = trainer.update.module.apply({"params": params}, pixels[chosen])
            error = np.mean(np.argmax(logits, 1) != data.train_labels[chosen])
            now = step if clock == "steps" else int(time)
            auto = rule.update(auto, now, float(loss(params, pixels[chosen], targets[chosen])), error)
        grads = jax.grad(loss)(params, pixels[rows], targets[rows])
        grads = jax.tree.map(lambda g, p: g + auto.l2 * p, grads, params)  # noqa: B023
        velocity = jax.tree.map(lambda v, g: jnp.float32(momentum) * v + g, velocity, grads)
        rate = 1.0 if step < 8 else 0.5
        time += rate
        params = jax.tree.map(lambda p, v: p - jnp.float32(0.8 * rate) * v, params, velocity)  # noqa: B023
        run = trainer.advance(run, hp, step, step + 1)
        assert float(run.controller.l2) == float(auto.l2)
        assert trainer.evaluate(run, hp)["l2"] == float(auto.l2)
        seen.add(float(auto.l2))
        assert_close(run.state.params, params, rtol=1e-3, atol=1e-4)
    assert len(seen) > 2, "the coefficient never decayed: the test shows nothing"


def test_autol2_in_a_bucket_decays_each_run_by_itself():
    of = setup(batch=24)
    data, rule = dataset(of), AutoL2(decay=0.5, every=2, refractory=0.2)
    bucket, single = Trainer(of, data, rule=rule, bucket=2), Trainer(of, data, rule=rule)
    singles = [hyper(eta=0.05, l2=0.5, seed=0), hyper(eta=1.5, l2=0.25, seed=1)]
    together = Hyper(*(jnp.stack(field) for field in zip(*singles, strict=True)))
    found = np.asarray(train(bucket, together, 24).controller.l2)
    np.testing.assert_array_equal(found, [float(train(single, hp, 24).controller.l2) for hp in singles])
    assert found[0] != found[1]


# ------------------------------------------------------------------------------------------ evaluation


@pytest.mark.parametrize("eval_batch", [7, 17, 60])  # with a rest on both sides, on one; no batch is full
def test_evaluation_is_over_all_examples_and_its_batches(eval_batch):
    data = {"name": "mnist", "train": 24, "test": 47, "image_size": 4}
    of = setup(data=data, eval_batch=eval_batch, eval_train=17)
    data = dataset(of)
    trainer = Trainer(of, data)
    hp = hyper()
    run = train(trainer, hp, 3)
    found = trainer.evaluate(run, hp)
    for split, images, labels in (
        ("train", data.train_images[:17], data.train_labels[:17]),
        ("test", data.test_images, data.test_labels),
    ):
        x = (images.astype(np.float32) / 255 - data.mean) / data.std
        logits = np.asarray(trainer.update.module.apply({"params": run.state.params}, x), np.float64)
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        expected = -log_p[np.arange(len(labels)), labels].mean() / 20
        assert found[f"{split}_loss"] == pytest.approx(expected, rel=1e-5)
        assert found[f"{split}_accuracy"] == pytest.approx((logits.argmax(1) == labels).mean())
    blocks = [0] * 20
    for index, right in enumerate(logits.argmax(1) == data.test_labels):
        blocks[index % 20] += int(right)
    assert [found[name] for name in BLOCKS] == blocks
    assert found["l2_norm"] == pytest.approx(float(jnp.sqrt(squared_norm(run.state.params))), rel=1e-6)
    assert found["l2"] == pytest.approx(0.01)


def test_batch_norm_evaluates_with_the_statistics_of_the_evaluation_batch():
    of = setup("cnn_bn", eval_batch=5)
    data = dataset(of)
    trainer = Trainer(of, data)
    hp = hyper()
    run = trainer.init(hp)
    x = (data.test_images.astype(np.float32) / 255 - data.mean) / data.std
    params = {"params": run.state.params}
    halves = [trainer.update.module.apply(params, x[i : i + 5], train=False) for i in (0, 5)]
    logits = np.concatenate(halves)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = -log_p[np.arange(10), data.test_labels].mean() / 20
    assert trainer.evaluate(run, hp)["test_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("model", "auto"), [("fc", False), ("cnn", True)])
def test_divergence_is_not_an_error(model, auto):
    of = setup(model)
    trainer = Trainer(of, dataset(of), rule=AutoL2(every=2) if auto else None)
    hp = hyper(eta=1e30)
    metrics = trainer.evaluate(train(trainer, hp, 6), hp)
    assert not np.isfinite(metrics["train_loss"])
    assert metrics["test_accuracy"] == 0.0, "logits that are not finite are no hits"


def test_a_batch_larger_than_the_data_is_refused():
    of = setup()
    data = dataset(of)
    large = of.model_copy(update={"batch": 25})
    with pytest.raises(ValueError, match=r"^batch: 25 is larger than the training set \(24\)$"):
        Trainer(large, data)


@pytest.mark.parametrize(
    ("steps", "per_decade", "first", "budgets", "expected"),
    [
        (1, 2, 1, (), [0, 1]),
        (100, 1, 1, (), [0, 1, 10, 100]),
        (5, 40, 1, (), [0, 1, 2, 3, 4, 5]),
        (5, 40, 10, (), [0, 5]),
        (20_000, 2, 50, (), [0, 100, 316, 1_000, 3_162, 10_000, 20_000]),
        (20_000, 1, 100, (50, 700, 30_000), [0, 50, 100, 700, 1_000, 10_000, 20_000]),
    ],
)
def test_evaluations_are_log_spaced(steps, per_decade, first, budgets, expected):
    assert evaluation_steps(steps, per_decade, first, budgets).tolist() == expected


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 40), st.integers(1, 500))
def test_two_runs_are_evaluated_at_the_same_steps_until_the_shorter_ends(one, other, per_decade, first):
    short, long = sorted((one, other))
    found = [evaluation_steps(steps, per_decade, first) for steps in (short, long)]
    np.testing.assert_array_equal(*(steps[steps < short] for steps in found))


def test_evaluations_of_the_longest_run_fit_the_step_counter():
    found = evaluation_steps(400_000_000, 40, 10)
    assert found[0] == 0
    assert found[-1] == 400_000_000 < np.iinfo(np.int32).max
    assert (np.diff(found) > 0).all()


def test_pieces_of_a_segment_meet_its_ends(monkeypatch):
    of = setup(batch=24)
    trainer = Trainer(of, dataset(of))
    hp = hyper()
    monkeypatch.setattr(Clock, "target_seconds", 0.0)
    slow = [step for step, _ in Clock(Crew()).pieces(trainer, trainer.init(hp), hp, 3, 8)]
    assert slow == [4, 5, 6, 7, 8]
    monkeypatch.setattr(Clock, "target_seconds", 1e9)
    clock = Clock(Crew())
    run = None
    fast = []
    for step, run in clock.pieces(trainer, trainer.init(hp), hp, 0, 100):  # noqa: B007
        fast.append(step)
    assert fast == [1, 3, 7, 15, 31, 63, 100]
    assert clock.pure_seconds > 0
    assert_identical(run, train(trainer, hp, 100))


# ------------------------------------------------------------------------------------------ several devices

_DEVICES = """
import json, sys
from l2dynamics.training import numerics
numerics.configure()
import jax
from jax.sharding import AxisType
from small_setups import dataset, hyper, setup
from l2dynamics.training.trainer import Trainer

of = setup("cnn_bn", batch=16, bn_group=2, momentum=0.9, augment=True, eval_batch=8)
data = dataset(of)
hp = hyper(eta=0.05)
found = []
for mesh in (None, jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))):
    trainer = Trainer(of, data, mesh=mesh)
    run = trainer.init(hp)
    for step in range(3):
        run = trainer.advance(run, hp, step, step + 1)
    devices = max(len(leaf.sharding.device_set) for leaf in jax.tree.leaves(run))
    metrics = {name: float(value) for name, value in trainer.evaluate(run, hp).items()}
    found.append([devices, trainer.step._cache_size() + trainer.segment._cache_size(), metrics])
json.dump(found, sys.stdout)
"""


def test_eight_devices_train_as_one_with_batch_norm_per_device():
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    env = {**os.environ, "XLA_FLAGS": flags.strip(), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", _DEVICES], cwd=TESTS, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    one, eight = json.loads(done.stdout)
    assert (one[0], eight[0]) == (1, 8)
    assert one[1] == 1
    assert_same_metrics(eight[2], one[2], rtol=2e-4)
