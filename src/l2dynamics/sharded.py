"""Training over a mesh: the batch is split, the data lie where they are used, checkpoints fit any number of hosts."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from l2dynamics.autol2 import AutoL2
from l2dynamics.config import Measure
from l2dynamics.distributed import Crew, replicate
from l2dynamics.training import Clock, Examples, Hyper, State, Trainer


class ShardedTrainer(Trainer):
    """A trainer whose batches are born split over the mesh.

    Resident data are copied to every device; a data set that is decoded lazily is decoded on each host for its
    own devices only. Parameters are replicated.
    """

    def __init__(self, *args: Any, mesh: Mesh, **options: Any) -> None:
        self._whole = NamedSharding(mesh, PartitionSpec())
        self._split = NamedSharding(mesh, PartitionSpec("data"))
        super().__init__(*args, mesh=mesh, **options)
        if self._data is not None:
            self._data = replicate(self._data, mesh)
        self.start = jax.jit(self._lift(self._start), out_shardings=self._whole)
        self.fetch = jax.jit(self._lifted_gather, out_shardings=self._split)

    def _set_controller(self, controller: AutoL2 | None, measure: Measure) -> None:
        super()._set_controller(controller, measure)
        self.control = jax.jit(self._lift(self._control), out_shardings=self._whole)

    def _batch(self, order: jax.Array, step: np.int32) -> Examples:
        if self._data is not None:
            return super()._batch(order, step)
        indices = np.asarray(self._indices(order, jax.numpy.asarray(step)))
        images, labels = self.dataset.train_images, self.dataset.train_labels

        def part(source: Any, index: Any) -> np.ndarray:
            return np.asarray(source[indices[index[0]]])

        whole = (len(indices), *images.shape[1:])
        return (
            jax.make_array_from_callback(whole, self._split, lambda index: part(images, index)),
            jax.make_array_from_callback(whole[:1], self._split, lambda index: part(labels, index)),
        )


class CrewClock(Clock):
    """A clock whose pieces end at the same steps in every process."""

    def __init__(self, crew: Crew) -> None:
        super().__init__()
        self._crew = crew

    def pieces(
        self, trainer: Trainer, state: State, hyper: Hyper, start: int, stop: int
    ) -> Iterator[tuple[int, State]]:
        """Yield (step, state) after every piece of the segment from ``start`` to ``stop``."""
        for found in super().pieces(trainer, state, hyper, start, stop):
            # The slowest process decides.
            self._piece = int(min(self._crew.gather(self._piece)))
            yield found


def _folder(path: Path) -> Path:
    return path.with_suffix(".orbax").absolute()


def _manager(path: Path) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
    handlers = {"arrays": ocp.PyTreeCheckpointHandler(), "meta": ocp.JsonCheckpointHandler()}
    return ocp.CheckpointManager(_folder(path), options=options, item_handlers=handlers)


def save(path: Path, arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
    """Write a checkpoint beside ``path`` and keep the one before it.

    Every process must call it; orbax has each array written once.
    """
    with _manager(path) as manager:
        if meta["step"] not in manager.all_steps():
            parts = ocp.args.Composite(
                arrays=ocp.args.PyTreeSave(dict(arrays)), meta=ocp.args.JsonSave(dict(meta))
            )
            manager.save(meta["step"], args=parts)


def load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Read what :func:`save` wrote, on any number of hosts and devices; None if there is nothing."""
    if not _folder(path).is_dir():
        return None
    with _manager(path) as manager:
        step = manager.latest_step()
        if step is None:
            return None
        kept = manager.item_metadata(step)["arrays"]
        as_numpy = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in kept.tree}
        found = manager.restore(
            step,
            args=ocp.args.Composite(
                arrays=ocp.args.PyTreeRestore(restore_args=as_numpy), meta=ocp.args.JsonRestore()
            ),
        )
    return dict(found["arrays"]), dict(found["meta"])
