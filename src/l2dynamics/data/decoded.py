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

from l2dynamics import paths
from l2dynamics.data import datasets, manifests, records, specs
from l2dynamics.results.source_code import code_key
from l2dynamics.storage import archives


def load(
    name: str, *, train: int | None, test: int | None, image_size: int | None, source: str, root: Path
) -> datasets.Dataset:
    """Load a data set as :func:`l2dynamics.data.datasets.load` does, decoding it only if nobody has yet.

    ImageNet, which stays compressed, is not kept.

    Raises:
        ValueError: as ``data.load``.
    """
    wanted: dict[str, Any] = {"train": train, "test": test, "image_size": image_size}
    folder = records.data_dir(source, root)
    if specs.spec(name, source).lazy or not records.is_prepared(name, folder):
        return datasets.load(name, **wanted, source=source, root=root)
    manifest = manifests.read_manifest(name, source, root)
    manifests.check(manifest, folder)
    key = json.dumps([manifest, wanted, code_key("l2dynamics.data.datasets")], sort_keys=True)
    file = paths.work(root) / "data" / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    if (kept := archives.load(file)) is not None:
        return datasets.Dataset(**kept[0], **kept[1])  # type: ignore[arg-type]
    loaded = datasets.load(name, **wanted, source=source, root=root)
    fields = {field.name: getattr(loaded, field.name) for field in dataclasses.fields(loaded)}
    arrays = {name: value for name, value in fields.items() if hasattr(value, "dtype")}
    with suppress(OSError):  # no space, or read-only: the next process decodes again
        archives.save(file, arrays, {name: fields[name] for name in fields.keys() - arrays.keys()})
    return loaded
