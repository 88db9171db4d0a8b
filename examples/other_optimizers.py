"""Does t* ∝ 1/λ hold for other optimizers? ``python examples/other_optimizers.py``, about a minute.

The paper treats gradient descent with an L2 term in the loss. Here one network (two hidden layers of 128, 512 samples
of MNIST at 14 × 14) is trained full-batch by four optimizers, each at four λ over a factor of 30. Where t* ∝ 1/λ the
fitted exponent is −1 and t*·λ is the same at every λ: one short run predicts the others.
"""

import argparse
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from compare import sample

from l2dynamics import t_star

SEEDS = (0, 1)
x, y, x_test, y_test = sample("mnist", train=512, test=1000, size=14)
x, x_test = (images.reshape(len(images), -1) for images in (x, x_test))

# Name, optimizer, whether λ is a weight decay outside the optimizer, λ, and t·λ in steps at which its runs end.
LOSS, DECAY = (0.1, 0.03, 0.01, 0.003), (10, 3, 1, 0.3)
OPTIMIZERS = (
    ("SGD, η = 0.5", optax.sgd(0.5), False, LOSS, 4),
    ("momentum 0.9, η = 0.05", optax.sgd(0.05, momentum=0.9), False, LOSS, 4),
    ("Adam, L2 in the loss, η = 0.001", optax.adam(1e-3), False, LOSS, 10),
    ("AdamW, η = 0.001", optax.adam(1e-3), True, DECAY, 2000),
)


def init(key):
    """Return the weights of a two-layer network, LeCun-normal with gain √2."""
    shapes = ((x.shape[1], 128), (128, 128), (128, 10))
    keys = jax.random.split(key, len(shapes))
    return [
        jax.random.normal(k, shape) * (2 / shape[0]) ** 0.5 for k, shape in zip(keys, shapes, strict=True)
    ]


def logits(weights, images):
    """Return the outputs of the network."""
    for w in weights[:-1]:
        images = jax.nn.relu(images @ w)
    return images @ weights[-1]


@partial(jax.jit, static_argnames=("tx", "decoupled"))
def advance(weights, state, l2, start, stop, tx, decoupled):
    """Train from step ``start`` to step ``stop``; return weights, optimizer state and test accuracy."""

    def loss(weights):
        data = optax.softmax_cross_entropy_with_integer_labels(logits(weights, x), y).mean()
        return data if decoupled else data + l2 / 2 * sum(jnp.sum(w**2) for w in weights)

    def step(_, carry):
        weights, state = carry
        updates, state = tx.update(jax.grad(loss)(weights), state, weights)
        if decoupled:
            updates = [u - 1e-3 * l2 * w for u, w in zip(updates, weights, strict=True)]
        return optax.apply_updates(weights, updates), state

    weights, state = jax.lax.fori_loop(start, stop, step, (weights, state))
    return weights, state, jnp.mean(logits(weights, x_test).argmax(-1) == y_test)


def peak(tx, decoupled, l2, seed, steps):
    """Return t* in steps, and the best accuracy."""
    weights = init(jax.random.key(seed))
    state, times, accuracies = tx.init(weights), [0], []
    evaluated = np.unique(np.geomspace(1, steps, 60).astype(int))
    for stop in evaluated:
        weights, state, accuracy = advance(weights, state, l2, times[-1], stop, tx, decoupled)
        times.append(stop)
        accuracies.append(float(accuracy))
    return t_star(evaluated, accuracies), max(accuracies)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--longest", type=int, default=20_000, help="steps of the longest run (default: %(default)s)"
    )
    longest = parser.parse_args().longest
    print(f"{'optimizer':34s} {'exponent':>8s}  t* in steps (λ)")
    for name, tx, decoupled, coefficients, product in OPTIMIZERS:
        found = [
            [peak(tx, decoupled, l2, seed, min(longest, int(product / l2)))[0] for seed in SEEDS]
            for l2 in coefficients
        ]
        times = np.exp(np.mean(np.log(found), 1))
        exponent = np.polyfit(np.log(coefficients), np.log(times), 1)[0]
        points = ", ".join(f"{time:.0f} ({l2:g})" for time, l2 in zip(times, coefficients, strict=True))
        print(f"{name:34s} {exponent:8.2f}  {points}", flush=True)
