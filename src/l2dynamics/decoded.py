"""Data sets decoded once: the arrays lie in ``work/data``, where every process of every stage finds them.

Importing TFDS and decoding take each of them seconds, for the full CIFAR-10 half a minute. The record files are still
compared with the manifest every time.
"""

import dataclasses
import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from l2dynamics import checkpoints, data, data_files, paths
from l2dynamics.closure import code_key


def load(
    name: str, *, train: int | None, test: int | None, image_size: int | None, source: str, root: Path
) -> data.Dataset:
    """Load a data set as :func:`l2dynamics.data.load` does, decoding it only if nobody has yet.

    ImageNet, which stays compressed, is not kept.

    Raises:
        ValueError: as ``data.load``.
    """
    wanted: dict[str, Any] = {"train": train, "test": test, "image_size": image_size}
    folder = data_files.data_dir(source, root)
    if data_files.spec(name, source).shape is None or not data_files.is_prepared(name, folder):
        return data.load(name, **wanted, source=source, root=root)
    manifest = data_files.read_manifest(name, source, root)
    data_files.check(manifest, folder)
    key = json.dumps([manifest, wanted, code_key("l2dynamics.data")], sort_keys=True)
    file = paths.work(root) / "data" / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    if (kept := checkpoints.load(file)) is not None:
        return data.Dataset(**kept[0], **kept[1])  # type: ignore[arg-type]
    loaded = data.load(name, **wanted, source=source, root=root)
    fields = {field.name: getattr(loaded, field.name) for field in dataclasses.fields(loaded)}
    arrays = {name: value for name, value in fields.items() if hasattr(value, "dtype")}
    with suppress(OSError):  # no space, or read-only: the next process decodes again
        checkpoints.save(file, arrays, {name: fields[name] for name in fields.keys() - arrays.keys()})
    return loaded
