"""Files that survive a crash: written whole or not at all, checked when read, with the previous one kept.

A file is a line with the SHA-256 of the rest, then an ``.npz`` archive of arrays (no pickle) with its metadata as JSON.
"""

import hashlib
import io
import json
import logging
import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

log = logging.getLogger(__name__)
_META = "__meta__"


def save(
    path: Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any], *, keep: bool = False
) -> None:
    """Write ``arrays`` and ``meta`` to ``path`` atomically.

    Args:
        path: the file; its folder is made.
        arrays: named arrays, no object dtype.
        meta: anything JSON can hold.
        keep: keep the file that is replaced as ``<path>.previous``.

    Raises:
        OSError: the file cannot be written (disk full, read-only); whatever was there before is untouched.
    """
    buffer = io.BytesIO()
    encoded = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    np.savez(buffer, allow_pickle=False, **{_META: encoded}, **arrays)
    content = buffer.getvalue()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
            file.flush()
            os.fsync(file.fileno())
        if keep and path.exists():
            path.replace(path.with_name(f"{path.name}.previous"))
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise OSError(
            error.errno, f"cannot write ({error.strerror}); what was saved before is intact", str(path)
        ) from error


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    try:
        digest, _, content = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    if hashlib.sha256(content).hexdigest().encode() != digest:
        log.warning("%s is damaged (checksum), it is not used", path.name)
        return None
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = dict(archive)
    except (ValueError, zipfile.BadZipFile, KeyError):
        log.warning("%s is not an archive of arrays, it is not used", path.name)
        return None
    return arrays, json.loads(arrays.pop(_META).tobytes())


def load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Read what :func:`save` wrote: the newest undamaged of ``path`` and its previous version, or None."""
    for candidate in (path, path.with_name(f"{path.name}.previous")):
        if (found := _read(candidate)) is not None:
            return found
    return None


def remove(path: Path) -> None:
    """Delete a checkpoint and its previous version."""
    for candidate in (path, path.with_name(f"{path.name}.previous")):
        candidate.unlink(missing_ok=True)
