"""Flax NNX and optax: a training that :func:`l2dynamics.suggest_l2` can start, from the parts that one has.

AutoL2 for the same training is one more link of its optax chain, :func:`l2dynamics.auto_l2`.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from l2dynamics.arguments import real, whole
from l2dynamics.suggestion.runs import Run

Batch = tuple[Any, Any]


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the mean cross-entropy of logits ``[batch, classes]`` and integer labels ``[batch]``."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def make_run(
    model: Callable[[nnx.Rngs], nnx.Module],
    optimizer: Callable[[Any], optax.GradientTransformation],
    batches: Callable[[int], Iterable[Batch]],
    evaluate: Callable[[nnx.Module], Any],
    *,
    loss: Callable[[jax.Array, jax.Array], jax.Array] = cross_entropy,
    evaluate_every: int = 10,
    steps_per_unit: float = 1,
    learning_rate: float | None = None,
    momentum: float = 0.0,
    classes: int | None = None,
    decoupled: bool = False,
) -> Run:
    """Build the ``make_run`` of :func:`l2dynamics.suggest_l2` from a model, an optimizer and data.

    One update and one evaluation are compiled, once for all coefficients and seeds.

    Args:
        model: ``model(nnx.Rngs(seed))`` makes a fresh model.
        optimizer: ``optimizer(l2)`` makes the transformation with that coefficient, at the *constant* learning rate of
            the start; ``l2`` is traced. For SGD ``lambda l2: optax.chain(optax.add_decayed_weights(l2),
            optax.sgd(0.1, momentum=0.9))``, the L2 term of the paper, or ``lambda l2: optax.adamw(1e-3,
            weight_decay=l2)``.
        batches: ``batches(seed)`` gives the minibatches ``(inputs, targets)`` of an epoch, or without end; called again
            with another seed as soon as they are used up.
        evaluate: test accuracy of a model, a fraction, or the test loss if that is to be minimised. Traced: to be
            written in JAX; the model is in its evaluation mode.
        loss: training loss of outputs and targets, without an L2 term.
        evaluate_every: steps between evaluations, ≥ 1.
        steps_per_unit: weight updates in one unit of the budget: 1 if it is in steps, those of an epoch if in epochs.
        learning_rate: rate at the start, to place the first coefficient without a search; None if unknown.
        momentum: heavy-ball momentum that goes with it; 0 for Adam and AdamW.
        classes: number of classes, to know the accuracy of guessing; None if unknown.
        decoupled: whether ``l2`` is decoupled weight decay, as with ``optax.adamw``.

    Returns:
        ``make_run(l2, seed)``, whose runs go on for ever.

    Raises:
        ValueError: an argument is out of its range or no function, or there is no batch.
    """
    every = whole("evaluate_every", evaluate_every, lambda value: value >= 1, "it must be at least 1 step")
    unit = real("steps_per_unit", steps_per_unit, lambda value: value > 0, "it must be positive, such as 1")
    for name, made, remedy in (
        ("optimizer", optimizer, "a function of l2, such as lambda l2: optax.adamw(1e-3, weight_decay=l2)"),
        ("batches", batches, "a function of a seed that gives the minibatches of an epoch"),
    ):
        if not callable(made):
            raise ValueError(f"{name} is a {type(made).__name__}: give {remedy}")

    @partial(jax.jit, static_argnums=0)
    def update(graph: Any, params: Any, rest: Any, state: Any, batch: Batch, l2: jax.Array) -> Any:
        built = nnx.merge(graph, params, rest)
        built.train()

        def of_loss(built: Any) -> jax.Array:
            return loss(built(batch[0]), jnp.asarray(batch[1]))

        gradients = nnx.grad(of_loss)(built)
        updates, state = optimizer(l2).update(gradients, state, params)
        return optax.apply_updates(params, updates), nnx.split(built, nnx.Param, ...)[2], state

    @partial(jax.jit, static_argnums=0)
    def measure(graph: Any, params: Any, rest: Any) -> jax.Array:
        built = nnx.merge(graph, params, rest)
        built.eval()
        return jnp.asarray(evaluate(built))

    def run(l2: float, seed: int) -> Iterator[tuple[float, float]]:
        graph, params, rest = nnx.split(model(nnx.Rngs(seed)), nnx.Param, ...)
        coefficient = jnp.float32(l2)
        state = optimizer(coefficient).init(params)
        for step, batch in enumerate(endless(batches, seed), start=1):
            params, rest, state = update(graph, params, rest, state, batch, coefficient)
            if step % every == 0:
                yield step / unit, float(measure(graph, params, rest))

    return Run(
        run,
        learning_rate=learning_rate,
        momentum=momentum,
        steps_per_unit=unit,
        classes=classes,
        decoupled=decoupled,
    )


def endless(batches: Callable[[int], Iterable[Batch]], seed: int) -> Iterator[Batch]:
    """Yield the batches of one epoch after the other; every one has a seed of its own."""
    for epoch in itertools.count():
        found = False
        for batch in batches(seed + 1_000_003 * epoch):
            found = True
            yield batch
        if not found:
            raise ValueError("batches gives none: return the minibatches (inputs, targets) of an epoch")
