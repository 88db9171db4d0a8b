"""Where the record files of a data set lie, how they are opened, and the manifest that pins them.

Only ``tfds.data_source`` reads records; TensorFlow is never imported. The manifest
(``data/manifests/NAME.json``, written by stage ``data@NAME``) holds sizes and checksums with names relative
to the data folder, so that it is the same on every machine.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from l2dynamics import paths
from l2dynamics.data.specs import SPECS


def data_dir(source: str, root: Path | None) -> Path:
    """Return the TFDS folder of a source: ``data/sample``, or ``$TFDS_DATA_DIR`` (or else TFDS' default)."""
    if source == "sample":
        return (paths.find_root() if root is None else root) / "data" / "sample"
    return paths.folder("TFDS_DATA_DIR", "~/tensorflow_datasets")


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
