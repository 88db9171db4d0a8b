"""When a run is evaluated and what is measured then. A new metric is added here: :meth:`Evaluator.__call__`."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from l2dynamics.training.losses import correct
from l2dynamics.training.regularization import squared_norm
from l2dynamics.training.update import Examples, State, Update


def evaluation_steps(steps: int, evaluations: int, first: float, budgets: Sequence[int] = ()) -> np.ndarray:
    """Step 0 and about ``evaluations`` log-spaced steps from ``first * steps`` to ``steps``, increasing integers.

    From step 1 on, a third of the evaluations of a long run would show it untrained.

    Args:
        steps: length of the run.
        evaluations: how many.
        first: where they begin, as a fraction of the length.
        budgets: further steps, for a comparison at equal times; those beyond the length are left out.
    """
    spaced = np.rint(np.geomspace(max(1, steps * first), steps, evaluations)).astype(np.int64)
    shared = np.asarray([budget for budget in budgets if budget < steps], np.int64)
    return np.unique(np.concatenate([[0], spaced, [steps], shared]))


class Evaluator:
    """Measures the networks of a job on the test set and on the first training examples, not augmented.

    Batch norm has no running averages: the batches of an evaluation have a fixed composition.

    Args:
        update: network, loss and data set.
        lift: maps a function of one run over the runs of a bucket.
    """

    def __init__(self, update: Update, lift: Callable[..., Any]) -> None:
        setup, dataset = update.setup, update.dataset
        measured = update.examples if setup.eval_train is None else min(setup.eval_train, update.examples)

        def batches(images: Any, labels: Any, count: int) -> list[Examples]:
            ends = [min(start + setup.eval_batch, count) for start in range(0, count, setup.eval_batch)]
            starts = [0, *ends[:-1]]
            return [
                (jnp.asarray(images[start:end]), jnp.asarray(labels[start:end]))
                for start, end in zip(starts, ends, strict=True)
            ]

        def score(params: Any, images: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
            targets = update.one_hot(labels)
            logits = update.logits(params, update.normalise(images), False)
            return {
                "loss": jnp.sum(update.loss(logits, targets)),
                "accuracy": jnp.sum(correct(logits, targets)),
            }

        self.batches = {
            "train": batches(dataset.train_images, dataset.train_labels, measured),
            "test": batches(dataset.test_images, dataset.test_labels, len(dataset.test_labels)),
        }
        self._score = jax.jit(lift(score, in_axes=(0, None, None)))
        self._norm = jax.jit(lift(lambda params: jnp.sqrt(squared_norm(params))))

    def __call__(self, state: State, l2: jax.Array) -> dict[str, np.ndarray]:
        """Metrics by name, float64 scalars or ``[runs]``; losses are without the L2 term, ``l2_norm`` is ‖θ‖.

        Args:
            state: parameters of the runs.
            l2: coefficient in force.
        """
        measured: dict[str, np.ndarray] = {}
        for split, batches in self.batches.items():
            parts = [self._score(state.params, images, labels) for images, labels in batches]
            count = sum(len(labels) for _, labels in batches)
            for kind in ("loss", "accuracy"):
                sums = [np.asarray(part[kind], np.float64) for part in parts]
                measured[f"{split}_{kind}"] = np.sum(sums, 0) / count
        measured["l2_norm"] = np.asarray(self._norm(state.params), np.float64)
        measured["l2"] = np.asarray(l2, np.float64)
        return measured
