"""AutoL2 in a Flax training on the CIFAR-10 sample: ``python examples/autol2_flax.py``, about a minute on two cores.

What AutoL2 needs is two lines: the transformation in the chain, and loss and error in the call of the optimizer.
"""

import jax.numpy as jnp
import numpy as np
import optax
from compare import compare, sample, steps_option
from flax import nnx

from l2dynamics import auto_l2, current_l2

x, y, x_test, y_test = sample("cifar10", train=2000, test=1000, size=16)


class CNN(nnx.Module):
    """Two convolutions and a dense layer, no normalisation."""

    def __init__(self, rngs):
        self.conv1 = nnx.Conv(3, 32, (3, 3), strides=2, rngs=rngs)
        self.conv2 = nnx.Conv(32, 32, (3, 3), strides=2, rngs=rngs)
        self.dense = nnx.Linear(512, 10, rngs=rngs)

    def __call__(self, images):
        """Return the logits."""
        hidden = nnx.relu(self.conv2(nnx.relu(self.conv1(images))))
        return self.dense(hidden.reshape(len(images), -1))


@nnx.jit
def train_step(model, optimizer, images, labels):
    """Update model and optimizer with one batch."""

    def loss_fn(model):
        logits = model(images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), logits

    (loss, logits), grads = nnx.value_and_grad(loss_fn, has_aux=True)(model)
    error = jnp.mean(logits.argmax(-1) != labels)
    optimizer.update(model, grads, loss=loss, error=error)  # for AutoL2: the loss without the L2 term


@nnx.jit
def accuracy(model):
    """Return the accuracy on the test images."""
    return jnp.mean(model(x_test).argmax(-1) == y_test)


# Made once: a new transformation for every run would compile everything again.
AUTO = optax.chain(auto_l2(init_l2=0.1), optax.sgd(0.05, momentum=0.9))
CONSTANT = optax.chain(
    optax.inject_hyperparams(optax.add_decayed_weights)(weight_decay=0.0), optax.sgd(0.05, momentum=0.9)
)


def train(tx, seed=0, l2=None):
    """Yield (step, test accuracy) for ever."""
    model = CNN(nnx.Rngs(seed))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    if l2 is not None:
        optimizer.opt_state[0].hyperparams["weight_decay"][...] = l2
    order = np.random.default_rng(seed)
    for step in range(1, 10**9):
        batch = order.choice(len(x), 64, replace=False)
        train_step(model, optimizer, x[batch], y[batch])
        if step % 5 == 0:
            yield step, float(accuracy(model))
        if l2 is None and step % 100 == 0:
            print(f"AutoL2: l2 = {float(current_l2(optimizer.opt_state)):.2g} at step {step}")


if __name__ == "__main__":
    compare(
        make_run=lambda l2, seed: train(CONSTANT, seed, l2),
        auto_run=train(AUTO),
        steps=steps_option(1000),
        grid=(3e-3, 1e-2, 3e-2, 1e-1),
    )
