"""Files written whole or not at all."""

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Return ``value`` in types JSON knows: arrays become lists, tuples lists, NaN and infinities null."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def json_bytes(value: Any) -> bytes:
    """Return ``value`` (see :func:`plain`) as an indented JSON file."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def replace(path: Path, content: bytes) -> None:
    """Put ``content`` into ``path`` in one indivisible step; on failure the previous file stays.

    Raises:
        OSError: the file cannot be written; the message names it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    for remnant in path.parent.glob(f".{path.name}.*.tmp"):
        if not lives(int(remnant.suffixes[-2][1:])):
            remnant.unlink(missing_ok=True)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise OSError(error.errno, f"cannot write ({error.strerror})", str(path)) from error


def lives(process: int) -> bool:
    """Whether a process of this machine exists, whoever it belongs to."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
