"""What is left of a scale in ``work/``, and its end (``l2dynamics clean``)."""

import fcntl
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from rich.prompt import Confirm

from l2dynamics import paths
from l2dynamics.experiments.messages import ConfigError


def leftovers(root: Path) -> dict[str, int]:
    """What lies in work/ with its size in bytes, relative to the checkout; links are not followed."""
    found: dict[str, int] = {}
    work = paths.work(root)
    for entry in sorted(work.iterdir()) if work.is_dir() else []:
        inside = entry.rglob("*") if entry.is_dir() and not entry.is_symlink() else [entry]
        sizes = [file.lstat().st_size for file in inside if not file.is_dir()]
        found[entry.relative_to(root).as_posix()] = sum(sizes)
    return found


def _require_idle(root: Path, found: Iterable[str]) -> None:
    for entry in found:
        for lock in (root / entry).rglob(".lock"):
            with lock.open() as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise ConfigError(f"{entry}: a process trains it; wait for it or stop it") from None


def clean_command(*, yes: bool, as_json: bool) -> None:
    """Show what lies under work/ and delete it, after a question unless ``yes``."""
    root = paths.find_root()
    found = leftovers(root)
    if not as_json:
        for folder, size in found.items():
            print(f"{folder}: {size / 1e6:.1f} MB")
        if not found:
            print("work/ holds nothing")
    deleting = bool(found) and (yes or (not as_json and _confirmed()))
    if deleting:
        _require_idle(root, found)
        _delete(root, found)
    if as_json:
        print(json.dumps({"folders": found, "deleted": deleting}, indent=2))


def _delete(root: Path, found: Iterable[str]) -> None:
    for entry in found:
        path = root / entry
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _confirmed() -> bool:
    try:
        return bool(Confirm.ask("Delete these checkpoints and finished runs?"))
    except EOFError:
        raise ConfigError("nobody answers, nothing is deleted: call `l2dynamics clean --yes`") from None
