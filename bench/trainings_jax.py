"""The networks of :mod:`bench.trainings` in Flax NNX, and their training in optax."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import l2dynamics.flax
from bench.trainings import CLASSES, Curve, Training, endless, epoch, images
from l2dynamics import AutoL2, auto_l2


class Fc(nnx.Module):
    """Two hidden layers of 256."""

    def __init__(self, rngs: nnx.Rngs, side: int, channels: int):
        self.layers = nnx.List(
            [nnx.Linear(a, b, rngs=rngs) for a, b in ((side**2 * channels, 256), (256, 256))]
        )
        self.last = nnx.Linear(256, CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the logits."""
        x = x.reshape(len(x), -1)
        for layer in self.layers:
            x = nnx.relu(layer(x))
        return self.last(x)


class Mixer(nnx.Module):
    """MLP-Mixer: 16 patches of 4 × 4, width 32, two blocks."""

    def __init__(self, rngs: nnx.Rngs, side: int, channels: int):
        del side, channels
        self.embed = nnx.Conv(3, 32, (4, 4), strides=4, rngs=rngs)
        self.blocks = nnx.List(
            [
                nnx.List(
                    [
                        nnx.LayerNorm(32, rngs=rngs),
                        nnx.Linear(16, 32, rngs=rngs),
                        nnx.Linear(32, 16, rngs=rngs),
                        nnx.LayerNorm(32, rngs=rngs),
                        nnx.Linear(32, 64, rngs=rngs),
                        nnx.Linear(64, 32, rngs=rngs),
                    ]
                )
                for _ in range(2)
            ]
        )
        self.last = nnx.Linear(32, CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the logits."""
        x = self.embed(x).reshape(len(x), 16, 32)
        for norm1, into1, out1, norm2, into2, out2 in self.blocks:
            mixed = out1(nnx.gelu(into1(norm1(x).swapaxes(1, 2)))).swapaxes(1, 2)
            x = x + mixed
            x = x + out2(nnx.gelu(into2(norm2(x))))
        return self.last(x.mean(1))


class Wrn(nnx.Module):
    """A residual network of three blocks, 8 to 32 channels, batch norm."""

    def __init__(self, rngs: nnx.Rngs, side: int, channels: int):
        del side
        self.first = nnx.Conv(channels, 8, (3, 3), rngs=rngs)
        widths = ((8, 8, 1), (8, 16, 2), (16, 32, 2))
        self.blocks = nnx.List(
            [
                nnx.List(
                    [
                        nnx.BatchNorm(a, rngs=rngs),
                        nnx.Conv(a, b, (3, 3), strides=s, rngs=rngs),
                        nnx.BatchNorm(b, rngs=rngs),
                        nnx.Conv(b, b, (3, 3), rngs=rngs),
                        nnx.Conv(a, b, (1, 1), strides=s, rngs=rngs),
                    ]
                )
                for a, b, s in widths
            ]
        )
        self.norm = nnx.BatchNorm(32, rngs=rngs)
        self.last = nnx.Linear(32, CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the logits."""
        x = self.first(x)
        for norm1, conv1, norm2, conv2, short in self.blocks:
            h = nnx.relu(norm1(x))
            x = short(h) + conv2(nnx.relu(norm2(conv1(h))))
        return self.last(nnx.relu(self.norm(x)).mean((1, 2)))


class Gru(nnx.Module):
    """A GRU of 64 units over the rows of an image."""

    def __init__(self, rngs: nnx.Rngs, side: int, channels: int):
        self.rnn = nnx.RNN(nnx.GRUCell(side * channels, 64, rngs=rngs))
        self.last = nnx.Linear(64, CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the logits."""
        return self.last(self.rnn(x.reshape(*x.shape[:2], -1))[:, -1])


NETWORKS: dict[str, Callable[..., nnx.Module]] = {"fc": Fc, "mixer": Mixer, "wrn": Wrn, "gru": Gru}


def build(training: Training) -> Callable[[nnx.Rngs], nnx.Module]:
    """Return the factory of a training's network."""
    shape = images(training.data)[0].shape
    return lambda rngs: NETWORKS[training.network](rngs, shape[1], shape[3])


def chain(training: Training, l2_term: optax.GradientTransformation, rate: Any) -> Any:
    """The optimizer with the L2 term where it belongs."""
    if training.adamw:
        return optax.chain(optax.scale_by_adam(), l2_term, optax.scale_by_learning_rate(rate))
    return optax.chain(l2_term, optax.sgd(rate, momentum=training.momentum or None))


def accuracy(training: Training) -> Callable[[Any], jax.Array]:
    """Return the function that measures the test accuracy of a network."""
    _, _, x, y = images(training.data)
    return lambda model: jnp.mean(model(jnp.asarray(x)).argmax(-1) == y)


def make_run(training: Training) -> Any:
    """See :meth:`bench.trainings.Training.make_run`."""
    x, y, _, _ = images(training.data)

    def batches(seed: int) -> Iterator[Any]:
        return ((x[chosen], y[chosen]) for chosen in epoch(len(x), seed))

    return l2dynamics.flax.make_run(
        build(training),
        lambda l2: chain(training, optax.add_decayed_weights(l2), training.learning_rate),
        batches,
        accuracy(training),
        evaluate_every=training.every,
        learning_rate=training.learning_rate,
        momentum=training.momentum,
        classes=CLASSES,
        decoupled=training.adamw,
    )


@cache
def compiled(training: Training, rule: AutoL2 | None) -> Any:
    """One update and one evaluation; with a constant coefficient it is traced."""

    def tx(l2: Any) -> Any:
        term = optax.add_decayed_weights(l2) if rule is None else auto_l2(rule=rule)

        def schedule(step: Any) -> Any:
            passed = jnp.sum(step >= jnp.array([decay * training.steps for decay in training.decays]))
            return training.learning_rate / 5.0**passed

        return chain(training, term, schedule if training.decays else training.learning_rate)

    def update(graph: Any, params: Any, rest: Any, state: Any, x: Any, y: Any, l2: Any) -> Any:
        model = nnx.merge(graph, params, rest)
        model.train()

        def loss_fn(model: Any) -> Any:
            logits = model(x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), logits

        (loss, logits), grads = nnx.value_and_grad(loss_fn, has_aux=True)(model)
        error = jnp.mean(logits.argmax(-1) != y)
        full = optax.with_extra_args_support(tx(l2))
        updates, state = full.update(grads, state, params, loss=loss, error=error)
        return optax.apply_updates(params, updates), nnx.split(model, nnx.Param, ...)[2], state

    def measure(graph: Any, params: Any, rest: Any) -> Any:
        model = nnx.merge(graph, params, rest)
        model.eval()
        return accuracy(training)(model)

    return tx, jax.jit(update, static_argnums=0), jax.jit(measure, static_argnums=0)


def train(training: Training, l2: float | AutoL2, seed: int) -> Curve:
    """See :meth:`bench.trainings.Training.run`."""
    rule = l2 if isinstance(l2, AutoL2) else None
    tx, update, measure = compiled(training, rule)
    x, y, _, _ = images(training.data)
    graph, params, rest = nnx.split(build(training)(nnx.Rngs(seed)), nnx.Param, ...)
    value = jnp.float32(0.0 if rule is not None else l2)
    state = tx(value).init(params)
    batches = endless(len(x), seed)
    for step in range(1, training.steps + 1):
        chosen = next(batches)
        params, rest, state = update(graph, params, rest, state, x[chosen], y[chosen], value)
        if step % training.every == 0:
            yield step, float(measure(graph, params, rest))
