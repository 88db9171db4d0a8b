"""L2 is a term of the loss: its gradient is that of the penalised loss and goes through momentum."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_setups import dataset, hyper, setup

from l2dynamics.training.regularization import add_l2, l2_penalty, squared_norm
from l2dynamics.training.trainer import Trainer

PARAMS = {
    "Conv_0": {"kernel": jnp.asarray([[1.0, -2.0], [0.5, 3.0]]), "bias": jnp.asarray([0.25, -1.0])},
    "BatchNorm_0": {"scale": jnp.asarray([1.0, 2.0]), "offset": jnp.asarray([0.0, -0.5])},
}


def loss(params):
    leaves = jax.tree.leaves(params)
    return sum(jnp.sum(jnp.sin(leaf) * (1 + index)) for index, leaf in enumerate(leaves))


def test_norm_and_penalty_are_over_all_leaves():
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(PARAMS)])
    assert float(squared_norm(PARAMS)) == pytest.approx((flat**2).sum())
    assert float(l2_penalty(PARAMS, 0.3)) == pytest.approx(0.15 * (flat**2).sum())
    assert squared_norm({}).dtype == jnp.float32


def test_the_norm_of_half_precision_parameters_does_not_overflow():
    assert float(squared_norm({"w": jnp.full(4, 300.0, jnp.float16)})) == 360000.0


@pytest.mark.parametrize("l2", [0.0, 1e-5, 0.1, 100.0])
def test_gradient_is_that_of_the_penalised_loss(l2):
    expected = jax.grad(lambda params: loss(params) + l2_penalty(params, l2))(PARAMS)
    found = add_l2(jax.grad(loss)(PARAMS), PARAMS, jnp.float32(l2))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def trained(momentum, model="fc", steps=6):
    of = setup(model, batch=24, momentum=momentum)
    trainer = Trainer(of, dataset(of))
    hp = hyper(eta=0.5, l2=0.1)
    start = trainer.init(hp)
    initial = jax.tree.map(jnp.copy, start.state.params)
    update, data = trainer.update, trainer.dataset
    x, y = update.normalise(jnp.asarray(data.train_images)), jax.nn.one_hot(data.train_labels, 10)

    def data_loss(params):
        return jnp.mean(update.loss(update.module.apply({"params": params}, x), y))

    return initial, trainer.advance(start, hp, 0, steps).state.params, data_loss


def descend(optimizer, initial, gradient, steps=6):
    params, state = initial, optimizer.init(initial)
    for _ in range(steps):
        updates, state = optimizer.update(gradient(params), state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("model", ["fc", "cnn_bn"])
def test_the_trainer_descends_the_penalised_loss(model, momentum):
    initial, found, data_loss = trained(momentum, model, steps=3)
    gradient = jax.jit(jax.grad(lambda params: data_loss(params) + l2_penalty(params, 0.1)))
    expected = descend(optax.sgd(0.5, momentum=momentum or None), initial, gradient, steps=3)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def test_coupled_l2_differs_from_decoupled_weight_decay_under_momentum_only():
    for momentum, differs in ((0.0, False), (0.9, True)):
        initial, found, data_loss = trained(momentum)
        decoupled = optax.chain(
            optax.trace(decay=momentum), optax.add_decayed_weights(0.1), optax.scale(-0.5)
        )
        other = descend(decoupled, initial, jax.jit(jax.grad(data_loss)))
        gap = max(
            float(jnp.max(jnp.abs(a - b))) for a, b in zip(*map(jax.tree.leaves, (found, other)), strict=True)
        )
        assert (gap > 1e-2) == differs, gap
        assert gap < 1e-5 or differs
