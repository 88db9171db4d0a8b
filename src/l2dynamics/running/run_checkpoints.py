"""Checkpoints of a run: one file from one device, through orbax from a mesh; either goes on on any number of hosts."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from l2dynamics.storage import archives

Saved = tuple[dict[str, np.ndarray], dict[str, Any]]


def save(checkpoint: Path, arrays: Mapping[str, Any], meta: Mapping[str, Any], *, sharded: bool) -> None:
    """Write a checkpoint and keep the one before it; of a mesh, every process must call it.

    Args:
        checkpoint: the file; orbax writes a folder beside it.
        arrays: by name.
        meta: anything JSON can hold, ``step`` among it.
        sharded: whether the arrays lie on a mesh.
    """
    if not sharded:
        archives.save(checkpoint, {name: np.asarray(x) for name, x in arrays.items()}, meta, keep=True)
        return
    from l2dynamics.running import mesh_checkpoints  # orbax is slow to import

    mesh_checkpoints.save(_folder(checkpoint), arrays, meta)


def newest(checkpoint: Path) -> Saved | None:
    """The newest checkpoint of a run, whether one device wrote it or a mesh; None if there is none."""
    found = [archives.load(checkpoint)]
    if _folder(checkpoint).is_dir():
        from l2dynamics.running import mesh_checkpoints

        found.append(mesh_checkpoints.load(_folder(checkpoint)))
    return max((one for one in found if one is not None), key=lambda one: one[1]["step"], default=None)


def forget(checkpoint: Path) -> None:
    """Delete all checkpoints of a finished run."""
    archives.remove(checkpoint)
    shutil.rmtree(_folder(checkpoint), ignore_errors=True)


def _folder(checkpoint: Path) -> Path:
    return checkpoint.with_suffix(".orbax").absolute()
