"""Checkpoints of a run on a mesh, written by all its hosts through orbax."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp


def save(folder: Path, arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
    """Write a checkpoint into ``folder`` and keep the one before it; orbax has each array written once."""
    with _manager(folder) as manager:
        if meta["step"] not in manager.all_steps():
            parts = ocp.args.Composite(
                arrays=ocp.args.PyTreeSave(dict(arrays)), meta=ocp.args.JsonSave(dict(meta))
            )
            manager.save(meta["step"], args=parts)


def load(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Read what :func:`save` wrote, on any number of hosts and devices; None if there is nothing."""
    with _manager(folder) as manager:
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


def _manager(folder: Path) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
    handlers = {"arrays": ocp.PyTreeCheckpointHandler(), "meta": ocp.JsonCheckpointHandler()}
    return ocp.CheckpointManager(folder, options=options, item_handlers=handlers)
