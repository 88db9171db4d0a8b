"""l2dynamics.flax against a plain training loop, and suggest_l2."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from l2dynamics import suggest_l2
from l2dynamics.flax import make_run

pytestmark = pytest.mark.usefixtures("standard_promotion")


@pytest.fixture
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


def data():
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 4
    return (rng.normal(size=(4, 10))[labels] + rng.normal(size=(400, 10))).astype(np.float32), labels


class Model(nnx.Module):
    def __init__(self, rngs):
        self.first, self.norm = nnx.Linear(10, 32, rngs=rngs), nnx.BatchNorm(32, rngs=rngs)
        self.last = nnx.Linear(32, 4, rngs=rngs)

    def __call__(self, x):
        return self.last(nnx.relu(self.norm(self.first(x))))


def run_on_blobs(optimizer, **options):
    x, y = data()

    def batches(seed):
        order = np.random.default_rng(seed).permutation(200)
        return ((x[chosen], y[chosen]) for chosen in np.split(order, 4))

    def accuracy(model):
        return jnp.mean(model(x[200:]).argmax(-1) == y[200:])

    return make_run(Model, optimizer, batches, accuracy, **options)


def test_updates_are_those_of_a_plain_loop():
    x, y = data()
    run = run_on_blobs(
        lambda l2: optax.chain(optax.add_decayed_weights(l2), optax.sgd(0.05, momentum=0.9)), evaluate_every=4
    )
    model = Model(nnx.Rngs(3))
    optimizer = nnx.Optimizer(
        model, optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.05, momentum=0.9)), wrt=nnx.Param
    )

    def of_loss(model, images, labels):
        return optax.softmax_cross_entropy_with_integer_labels(model(images), labels).mean()

    order = np.random.default_rng(3).permutation(200)
    for chosen in np.split(order, 4):
        model.train()
        optimizer.update(model, nnx.grad(of_loss)(model, x[chosen], y[chosen]))
    model.eval()
    expected = float(jnp.mean(model(x[200:]).argmax(-1) == y[200:]))
    assert next(iter(run(0.1, 3))) == (4, pytest.approx(expected))


def test_one_program_serves_all_coefficients():
    traced = []

    def optimizer(l2):
        traced.append(l2)
        return optax.adamw(1e-3, weight_decay=l2)

    run = run_on_blobs(optimizer, evaluate_every=1)
    for l2 in (0.0, 0.1, 1.0):
        list(itertools.islice(run(l2, 0), 3))
    assert sum(isinstance(l2, jax.core.Tracer) for l2 in traced) == 1


@pytest.mark.filterwarnings("ignore:suggest_l2")
def test_make_run_is_answered():
    run = run_on_blobs(
        lambda l2: optax.chain(optax.add_decayed_weights(l2), optax.sgd(0.02, momentum=0.9)),
        evaluate_every=5,
        learning_rate=0.02,
        momentum=0.9,
        classes=4,
    )
    found = suggest_l2(run, 1000, progress=False)
    assert 0.1 < found.l2 * 0.2 * 1000 < 5


@pytest.mark.parametrize(("name", "value"), [("optimizer", optax.sgd(0.1)), ("batches", [])])
def test_what_must_be_a_function_is_named(name, value):
    parts = {"optimizer": lambda l2: optax.sgd(0.1), "batches": lambda seed: [], name: value}
    with pytest.raises(ValueError, match=rf"^{name} is a \w+: give a function of"):
        make_run(Model, evaluate=lambda model: 0.5, **parts)


def test_no_batches_are_named():
    run = make_run(Model, lambda l2: optax.sgd(0.1), lambda seed: [], lambda model: 0.5)
    with pytest.raises(ValueError, match=r"^batches gives none"):
        next(iter(run(0.1, 0)))
