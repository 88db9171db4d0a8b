"""The manifest that pins a data set: sizes and checksums of its record files.

``data/manifests/NAME.json`` is written by stage ``data@NAME``. Names in it are relative to the data folder: it is the
same on every machine.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from l2dynamics import paths
from l2dynamics.data.records import data_dir, open_builder, record_files
from l2dynamics.data.specs import SPECS, spec
from l2dynamics.storage import line_endings

_HASH_LIMIT = 2**32
# sha256 of the files this process has hashed, by path, size and modification time.
_HASHED: dict[tuple[str, int, int], str] = {}


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, hashing it once per process, size and modification time."""
    status = path.stat()
    key = (str(path), status.st_size, status.st_mtime_ns)
    if key not in _HASHED:
        with path.open("rb") as file:
            _HASHED[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _HASHED[key]


def describe(name: str, source: str, root: Path) -> dict[str, Any]:
    """Return the manifest of a prepared data set: name, version, source, split sizes, checksums."""
    details = spec(name, source)
    folder = data_dir(source, root)
    builder = open_builder(name, folder)
    files = record_files(name, builder, folder)
    return {
        "name": name,
        "version": details.version,
        "source": source,
        "splits": {ours: builder.info.splits[theirs].num_examples for ours, theirs in details.splits.items()},
        "files": {
            file: {"bytes": path.stat().st_size, "sha256": sha256(path)}
            for file, path in sorted(files.items())
        },
    }


def read_manifest(name: str, source: str, root: Path) -> dict[str, Any]:
    """Return the manifest that stage ``data@NAME`` wrote.

    Raises:
        ValueError: it is missing, unreadable, or of another source or version.
    """
    path = paths.manifest(root, name, source)
    remedy = f"run `dvc repro data@{name}`"
    try:
        found = json.loads(path.read_text())
        described = {key: found[key] for key in ("name", "version", "source")}
        if not all(
            isinstance(e["sha256"], str) and isinstance(e["bytes"], int) for e in found["files"].values()
        ):
            raise TypeError("files")
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist: {remedy}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is not a manifest ({type(error).__name__}): delete it and {remedy}"
        ) from error
    expected = {"name": name, "version": SPECS[name].version, "source": source}
    for key, value in expected.items():
        if described[key] != value:
            raise ValueError(f"{path} describes {key} {described[key]!r}, {value!r} is asked for: {remedy}")
    return found


def check(manifest: Mapping[str, Any], folder: Path) -> None:
    """Compare the record files below ``folder`` with the manifest: sizes, and SHA-256 up to 4 GiB in all.

    ImageNet (140 GB) would take minutes at every start; the checksums inside array_record guard what is read.

    Raises:
        ValueError: a file is missing, truncated or changed, or its name leaves ``folder``; the file is named.
    """
    name = manifest["name"]
    hash_all = sum(expected["bytes"] for expected in manifest["files"].values()) <= _HASH_LIMIT
    for file, expected in manifest["files"].items():
        relative = PurePosixPath(file)
        if relative.is_absolute() or ".." in relative.parts:
            raise ValueError(f"the manifest of {name} names {file!r}, outside the data folder")
        path = folder / relative
        remedy = f"restore it (see data/README.md), or accept it by `dvc repro -f data@{name}`"
        if not path.is_file():
            raise ValueError(f"{path} is missing: {remedy}")
        size = path.stat().st_size
        if size != expected["bytes"]:
            if manifest["source"] == "sample" and line_endings.converted(
                path.read_bytes(), expected["sha256"]
            ):
                raise ValueError(f"{path} is corrupted: {line_endings.CONVERTED}")
            raise ValueError(f"{path} has {size} bytes, {expected['bytes']} expected: {remedy}")
        if hash_all and sha256(path) != expected["sha256"]:
            raise ValueError(f"{path} is corrupted (its SHA-256 differs from the manifest): {remedy}")
