"""Predict the L2 coefficient of one's own model: ``python examples/predict_l2_for_my_model.py``, under a minute.

All that the prediction needs is a function ``make_run(l2, seed)`` that trains and yields (step, test accuracy).
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from compare import cifar10, compare, steps_option
from flax import nnx

from l2dynamics import AutoL2, suggest_l2
from l2dynamics.suggestion import NoPeakError

x, y, x_test, y_test = cifar10(train=1000, test=1000)


class MLP(nnx.Module):
    def __init__(self, rngs):
        sizes = (x[0].size, 256, 256, 10)
        self.layers = nnx.List([nnx.Linear(i, o, rngs=rngs) for i, o in zip(sizes, sizes[1:], strict=False)])

    def __call__(self, images):
        hidden = images.reshape(len(images), -1)
        for layer in self.layers[:-1]:
            hidden = nnx.relu(layer(hidden))
        return self.layers[-1](hidden)


@nnx.jit
def train_step(model, optimizer, images, labels, l2):
    def loss_fn(model):
        logits = model(images)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        norm = sum(jnp.sum(w**2) for w in jax.tree.leaves(nnx.state(model, nnx.Param)))
        return loss + l2 / 2 * norm, (loss, jnp.mean(logits.argmax(-1) != labels))

    (_, (loss, error)), grads = nnx.value_and_grad(loss_fn, has_aux=True)(model)
    optimizer.update(model, grads)
    return loss, error


@nnx.jit
def accuracy(model):
    return jnp.mean(model(x_test).argmax(-1) == y_test)


def make_run(l2, seed, rule=None):
    """Train with a constant coefficient, or with that of the rule; yield (step, test accuracy)."""
    model = MLP(nnx.Rngs(seed))
    optimizer = nnx.Optimizer(model, optax.sgd(0.02, momentum=0.9), wrt=nnx.Param)
    order, auto = np.random.default_rng(seed), rule.init() if rule else None
    for step in range(1, 10**9):
        batch = order.choice(len(x), 128, replace=False)
        l2 = auto.l2 if rule else jnp.float32(l2)
        loss, error = train_step(model, optimizer, x[batch], y[batch], l2)
        if rule and step % rule.every == 0:
            auto = rule.update(auto, step, loss, error)
        if step % 5 == 0:
            yield step, float(accuracy(model))


if __name__ == "__main__":
    steps = steps_option(1500)
    try:
        print(suggest_l2(make_run, budget=steps, first_decay=0.3), "and a first decay at 0.3 of it")
    except NoPeakError as error:
        print(error)
    compare(make_run, make_run(None, 0, AutoL2()), steps, grid=(1e-3, 3e-3, 1e-2, 3e-2))
