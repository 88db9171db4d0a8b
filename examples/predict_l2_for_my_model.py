"""Predict the L2 coefficient of one's own model: ``python examples/predict_l2_for_my_model.py``, about a minute.

All that the prediction needs is a function ``make_run(l2, seed)`` that trains and yields (step, test accuracy).
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from compare import compare, sample, steps_option
from flax import nnx

from l2dynamics import auto_l2, predict_l2

x, y, x_test, y_test = sample("cifar10", train=2000, test=1000, size=16)


class MyModel(nnx.Module):
    """Two convolutions and a dense layer."""

    def __init__(self, rngs):
        self.conv1 = nnx.Conv(3, 32, (3, 3), strides=2, rngs=rngs)
        self.conv2 = nnx.Conv(32, 32, (3, 3), strides=2, rngs=rngs)
        self.out = nnx.Linear(512, 10, rngs=rngs)

    def __call__(self, images):
        """Return the logits."""
        features = nnx.relu(self.conv2(nnx.relu(self.conv1(images))))
        return self.out(features.reshape(len(images), -1))


@nnx.jit
def train_step(model, optimizer, images, labels, l2):
    """Update model and optimizer with one batch; the L2 term is part of the loss."""

    def loss_fn(model):
        logits = model(images)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        norm = sum(jnp.sum(w**2) for w in jax.tree.leaves(nnx.state(model, nnx.Param)))
        return loss + l2 / 2 * norm, (loss, jnp.mean(logits.argmax(-1) != labels))

    (_, (loss, error)), grads = nnx.value_and_grad(loss_fn, has_aux=True)(model)
    optimizer.update(model, grads, loss=loss, error=error)


@nnx.jit
def accuracy(model):
    """Return the accuracy on the test images."""
    return jnp.mean(model(x_test).argmax(-1) == y_test)


# Made once: a new transformation for every run would compile everything again.
SGD = optax.with_extra_args_support(optax.sgd(0.05, momentum=0.9))
AUTO = optax.chain(auto_l2(), optax.sgd(0.05, momentum=0.9))


def make_run(l2, seed, tx=SGD):
    """Yield (step, test accuracy) for ever."""
    model = MyModel(nnx.Rngs(seed))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    order = np.random.default_rng(seed)
    for step in range(1, 10**9):
        batch = order.choice(len(x), 64, replace=False)
        train_step(model, optimizer, x[batch], y[batch], jnp.float32(l2))
        if step % 5 == 0:
            yield step, float(accuracy(model))


if __name__ == "__main__":
    steps = steps_option(1000)
    suggestion = compare(make_run, make_run(0.0, 0, AUTO), steps, grid=(3e-3, 1e-2, 3e-2, 1e-1))
    if suggestion:
        # c is known now: every other budget, and a schedule, cost nothing more.
        print(f"\nten times the budget: l2 = {predict_l2(suggestion.c, 10 * steps):.2g}")
        print(
            f"learning rate lowered at 0.3 of it: l2 = {predict_l2(suggestion.c, steps, first_decay=0.3):.2g}"
        )
