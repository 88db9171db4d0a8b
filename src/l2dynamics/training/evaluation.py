"""When a run is evaluated and what is measured then. A new metric is added here: :meth:`Evaluator.__call__`."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from l2dynamics.models import networks
from l2dynamics.results.columns import BLOCKS, LOG_NORM
from l2dynamics.training.losses import correct
from l2dynamics.training.regularization import squared_norm
from l2dynamics.training.update import Examples, State, Update


def evaluation_steps(steps: int, per_decade: int, first: int, budgets: Sequence[int] = ()) -> np.ndarray:
    """Step 0, the steps 10^(k / per_decade) from ``first`` on, and the last one, increasing integers.

    The same for runs of every length: of two runs that are compared within a budget, the one that is looked at more
    often would have more chances to be at its best.

    Args:
        steps: length of the run.
        per_decade: evaluations per decade of time.
        first: none of the spaced ones is earlier, ≥ 1.
        budgets: further steps, for a comparison at equal times; those beyond the length are left out.
    """
    last = math.ceil(per_decade * math.log10(steps))
    spaced = np.rint(10 ** (np.arange(last + 1) / per_decade)).astype(np.int64)
    shared = np.asarray([0, steps, *budgets], np.int64)
    found = np.unique(np.concatenate([spaced[spaced >= first], shared]))
    return found[found <= steps]


class Evaluator:
    """Measures the networks of a job on the test set and on the first training examples, not augmented.

    Batch norm has no running averages: the batches of an evaluation have a fixed composition, consecutive examples.
    All of them are one compiled call, and one transfer to the host.

    Args:
        update: network, loss and data set.
        lift: maps a function of one run over the runs of a bucket.
    """

    def __init__(self, update: Update, lift: Callable[..., Any]) -> None:
        setup, dataset = update.setup, update.dataset
        measured = update.examples if setup.eval_train is None else min(setup.eval_train, update.examples)
        self.counts = {"train": measured, "test": len(dataset.test_labels)}
        images = np.concatenate([dataset.train_images[:measured], dataset.test_images[:]])
        labels = np.concatenate([dataset.train_labels[:measured], dataset.test_labels])
        self.examples: Examples = (jnp.asarray(images), jnp.asarray(labels))
        self._update, self._size = update, setup.eval_batch
        self._compiled = jax.jit(lift(self._score, in_axes=(0, None, None)))

    @property
    def subset(self) -> Examples:
        """The first batch of the training examples."""
        count = min(self._size, self.counts["train"])
        return self.examples[0][:count], self.examples[1][:count]

    def _score(self, params: Any, images: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
        """Per split the loss summed over each batch, and correct examples, in blocks on the test set."""

        def one_batch(start: jax.Array | int, size: int) -> tuple[jax.Array, jax.Array]:
            part = [jax.lax.dynamic_slice_in_dim(values, start, size) for values in (images, labels)]
            targets = self._update.one_hot(part[1])
            logits = self._update.logits(params, self._update.normalise(part[0]), False)
            return jnp.sum(self._update.loss(logits, targets)), correct(logits, targets)

        first, whole, rests = 0, {}, {}
        for split, count in self.counts.items():
            batches = count // self._size
            whole[split] = [first + i * self._size for i in range(batches)]
            rests[split] = (first + batches * self._size, count % self._size)
            first += count
        starts = np.asarray([start for split in whole.values() for start in split], np.int32)
        losses, hits = jnp.zeros(0), jnp.zeros((0, self._size))
        if len(starts):
            losses, hits = jax.lax.map(lambda start: one_batch(start, self._size), starts)
        found, done = {}, 0
        for split, (start, size) in rests.items():
            until = done + len(whole[split])
            loss, hit = losses[done:until], hits[done:until].reshape(-1)
            if size:
                rest_loss, rest_hit = one_batch(start, size)
                loss, hit = jnp.append(loss, rest_loss), jnp.append(hit, rest_hit)
            found[f"{split}_loss"] = loss
            found[f"{split}_correct"] = in_blocks(hit) if split == "test" else jnp.sum(hit)
            done = until
        if self._update.setup.weight_norms:
            found |= log_norms(params, networks.scale_invariant(self._update.module, params))
        return found | {"l2_norm": jnp.sqrt(squared_norm(params))}

    def __call__(self, state: State, l2: jax.Array) -> dict[str, np.ndarray]:
        """Metrics by name, float64 scalars or ``[runs]``.

        Losses are without the L2 term, ``l2_norm`` is ‖θ‖, the :data:`BLOCKS` count correct test images; where the
        setup asks for ``weight_norms``, see :func:`log_norms`.

        Args:
            state: parameters of the runs.
            l2: coefficient in force.
        """
        found = jax.device_get((self._compiled(state.params, *self.examples), l2))
        values = {name: np.asarray(value, np.float64) for name, value in found[0].items()}
        blocks = values["test_correct"]
        measured = {
            "train_loss": values["train_loss"].sum(-1) / self.counts["train"],
            "train_accuracy": values["train_correct"] / self.counts["train"],
            "test_loss": values["test_loss"].sum(-1) / self.counts["test"],
            "test_accuracy": blocks.sum(-1) / self.counts["test"],
            "l2_norm": values["l2_norm"],
            "l2": np.asarray(found[1], np.float64),
        }
        measured |= {name: value for name, value in values.items() if name.startswith(LOG_NORM)}
        return measured | {name: blocks[..., index] for index, name in enumerate(BLOCKS)}


def log_norms(params: Any, where: Any) -> dict[str, jax.Array]:
    """Mean over output channels of ln ‖w‖ by layer, float32 scalars, of the kernels that ``where`` says."""
    found = {}
    leaves = jax.tree_util.tree_leaves_with_path(params)
    for (path, kernel), wanted in zip(leaves, jax.tree.leaves(where), strict=True):
        if wanted:
            squares = jnp.sum(jnp.square(kernel.astype(jnp.float32)), tuple(range(kernel.ndim - 1)))
            found[f"{LOG_NORM}{path[0].key}"] = 0.5 * jnp.mean(jnp.log(squares))
    return found


def in_blocks(hits: jax.Array) -> jax.Array:
    """How many of the examples ``[n]`` are hits in each block: those of equal index modulo their number."""
    count = len(BLOCKS)
    padded = jnp.pad(hits, (0, -len(hits) % count))
    return jnp.sum(padded.reshape(-1, count), 0)
