"""Training over a mesh: the batch is split, parameters are replicated, the data lie where they are used."""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from l2dynamics.autol2 import AutoL2
from l2dynamics.data.datasets import Dataset
from l2dynamics.experiments.messages import ConfigError
from l2dynamics.experiments.setup import Measure, PauseClock, Setup
from l2dynamics.training.trainer import Trainer
from l2dynamics.training.update import Examples


def mesh(batch: int) -> Mesh | None:
    """All devices of all hosts, between which a batch is split; None if this process has but one.

    Raises:
        ConfigError: the devices of several hosts do not divide the batch.
    """
    count = len(jax.devices())
    if count == 1:
        return None
    if batch % count:
        if jax.process_count() > 1:
            raise ConfigError(f"batch {batch} does not split evenly over {count} devices: use fewer hosts")
        return None
    return jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,))


def replicate(tree: Any, mesh: Mesh) -> Any:
    """The same arrays on every device of the mesh."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def build(setup: Setup, dataset: Dataset, bucket: int | None = None) -> Trainer:
    """A trainer on all devices of all hosts; a bucket of runs trains on one device.

    Raises:
        ConfigError: see :func:`mesh`.
    """
    devices = None if bucket is not None else mesh(setup.batch)
    if devices is None:
        return Trainer(setup, dataset, bucket=bucket)
    return ShardedTrainer(setup, dataset, mesh=devices)


class ShardedTrainer(Trainer):
    """A trainer whose batches are born split over the mesh.

    Resident data are copied to every device; a data set that is decoded lazily is decoded on each host for its
    own devices only.
    """

    def __init__(self, *args: Any, mesh: Mesh, **options: Any) -> None:
        self._whole = NamedSharding(mesh, PartitionSpec())
        self._split = NamedSharding(mesh, PartitionSpec("data"))
        super().__init__(*args, mesh=mesh, **options)
        if self._data is not None:
            self._data = replicate(self._data, mesh)
        self.start = jax.jit(self._lift(self.update.initial), out_shardings=self._whole)
        self.fetch = jax.jit(self._fetch, out_shardings=self._split)

    def _set_rule(self, rule: AutoL2 | None, measure: Measure, clock: PauseClock) -> None:
        super()._set_rule(rule, measure, clock)
        self.control = jax.jit(self._lift(self._control), out_shardings=self._whole)

    def examples_of(self, order: jax.Array, step: np.int32) -> Examples:
        """Images and labels of the batch of a step, on each host those of its own devices."""
        if self._data is not None:
            return super().examples_of(order, step)
        indices = np.asarray(self.update.indices(order, jax.numpy.asarray(step)))
        images, labels = self.dataset.train_images, self.dataset.train_labels

        def part(source: Any, index: Any) -> np.ndarray:
            return np.asarray(source[indices[index[0]]])

        whole = (len(indices), *images.shape[1:])
        return (
            jax.make_array_from_callback(whole, self._split, lambda index: part(images, index)),
            jax.make_array_from_callback(whole[:1], self._split, lambda index: part(labels, index)),
        )
