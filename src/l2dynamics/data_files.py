"""Where the record files of a data set lie, how they are opened, and the manifest that pins them.

Only ``tfds.data_source`` reads records; TensorFlow is never imported. The manifest
(``data/manifests/NAME.json``, written by stage ``data@NAME``) holds sizes and checksums with names relative
to the data folder, so that it is the same on every machine.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from l2dynamics import line_endings, paths

SOURCES = ("sample", "tfds")


@dataclass(frozen=True)
class Spec:
    """What is known of a data set before it is opened: TFDS version, classes, [H, W, C], splits in use."""

    version: str
    classes: int
    shape: tuple[int, int, int] | None
    splits: Mapping[str, str]
    sampled: bool


TRAIN_TEST = {"train": "train", "test": "test"}
SPECS = {
    "mnist": Spec("3.0.1", 10, (28, 28, 1), TRAIN_TEST, sampled=True),
    "cifar10": Spec("3.0.2", 10, (32, 32, 3), TRAIN_TEST, sampled=True),
    # The labels of ImageNet's test split were never published; the paper's test set is the validation split.
    "imagenet2012": Spec("5.1.0", 1000, None, {"train": "train", "test": "validation"}, sampled=False),
}

_HASH_LIMIT = 2**32
# sha256 of the files this process has hashed, by path, size and modification time.
_HASHED: dict[tuple[str, int, int], str] = {}


def spec(name: str, source: str) -> Spec:
    """Return the specification of a data set, refusing unknown names and sources.

    Raises:
        ValueError: ``name`` or ``source`` is unknown, or the data set has no embedded sample.
    """
    if name not in SPECS:
        raise ValueError(f"data.name: unknown data set {name!r}; use one of {', '.join(SPECS)}")
    if source not in SOURCES:
        raise ValueError(f"data.source: unknown source {source!r}; use one of {', '.join(SOURCES)}")
    if source == "sample" and not SPECS[name].sampled:
        raise ValueError(f"data.source: there is no sample of {name}; set it to tfds (see data/README.md)")
    return SPECS[name]


def data_dir(source: str, root: Path | None) -> Path:
    """Return the TFDS folder of a source: ``data/sample``, or ``$TFDS_DATA_DIR`` (or else TFDS' default)."""
    if source == "sample":
        return (paths.find_root() if root is None else root) / "data" / "sample"
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser().resolve()


def is_prepared(name: str, folder: Path) -> bool:
    """Tell whether ``folder`` holds the pinned version of a data set, without asking TFDS."""
    return (folder / name / SPECS[name].version / "dataset_info.json").is_file()


@contextmanager
def quiet() -> Iterator[None]:
    """Silence absl's remarks on OpenCV and missing metadata."""
    from absl import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def open_builder(name: str, folder: Path) -> Any:
    """Return the TFDS builder of a prepared data set.

    Raises:
        ValueError: the data set is not prepared in ``folder``, is damaged, or is not in array_record format.
    """
    import tensorflow_datasets as tfds

    version = SPECS[name].version
    if not is_prepared(name, folder):
        raise ValueError(
            f"{name} {version} is not prepared in {folder}: run `dvc repro -f data@{name}` with a network, "
            "point TFDS_DATA_DIR at a prepared folder, or set data.source: sample in params.yaml"
        )
    try:
        with quiet():
            builder = tfds.builder(f"{name}:{version}", data_dir=folder)
            found = builder.info.file_format.value
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{folder / name / version}: unreadable TFDS metadata ({type(error).__name__}: {reason}); "
            "restore or delete this folder"
        ) from error
    if found != "array_record":
        raise ValueError(
            f"{folder / name / version} holds {found} files: prepare {name} again with "
            "`--file_format=array_record`, or set TFDS_DATA_DIR to another folder"
        )
    return builder


def record_files(name: str, builder: Any, folder: Path) -> dict[str, Path]:
    """Return the record files of the splits in use, by their name relative to ``folder``.

    Raises:
        ValueError: a split or a file is missing, or the metadata name a file outside ``folder``.
    """
    files = {}
    for split in SPECS[name].splits.values():
        if split not in builder.info.splits:
            raise ValueError(f"{builder.data_path}: {name} has no split {split}; prepare the data set again")
        for file in builder.info.splits[split].filepaths:
            path = Path(os.path.normpath(file))
            if not path.is_relative_to(folder):
                raise ValueError(f"{file}: this record file of {name} lies outside {folder}")
            if not path.is_file():
                raise ValueError(
                    f"{path}: this record file of {name} is missing; restore it or prepare it again"
                )
            files[path.relative_to(folder).as_posix()] = path
    return files


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
    path = paths.manifest(root, name)
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
