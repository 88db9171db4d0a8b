"""Live logging of training: the trainer writes small files, another process carries them to MLflow.

So a trainer never waits for MLflow, nor imports it, nor dies with it. Everything here is best effort: what
does not arrive is completed by stage ``track``. This module is all that training depends on; keep it small.

That process, the recorder, serves every stage that finds it running: of a ``dvc repro`` only the first stage pays
for the import of MLflow, nearly five seconds of a core.
"""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd

from l2dynamics import paths
from l2dynamics.results import tables
from l2dynamics.storage import atomic

#: Set it to ``off`` and no stage logs live.
SWITCH = "L2DYNAMICS_TRACKING"
HEADER_FILE, END_FILE, FAILED_FILE = "header.json", "end", "failed"
SPOOLS = "*-*-*"
#: A spool that nobody has touched for so long was left behind by a killed process, seconds.
_FORGOTTEN = 3600.0


class Tracker:
    """Logs the runs of one sweep while they are trained.

    The methods return at once and never raise. The object may be sent to worker processes; only the process
    that made it starts the recorder, speaks and closes.

    Args:
        name: name of the results, e.g. ``fc``.
        header: the passport as far as it is known before training: at least ``scale``, ``data``, ``setup``,
            ``steps_per_epoch``, ``classes``, ``git_commit`` and ``key``, equal to what is written in the end.
        root: the checkout.
        every: seconds between two reports of one run's progress.
    """

    def __init__(self, name: str, header: Mapping[str, Any], root: Path, *, every: float = 5.0) -> None:
        self.every = every
        self.enabled = os.environ.get(SWITCH, "").lower() not in {"off", "0", "false", "no"}
        self._owner = os.getpid()
        self._recorder = 0
        self._last: dict[str, float] = {}
        self._spool = spools(root) / f"{name}-{self._owner}-{time.monotonic_ns():x}"
        if self.enabled:
            try:
                _forget(self._spool.parent)
                self._spool.mkdir(parents=True)
                content = {"name": name, "pid": self._owner, "service": service()}
                content["header"] = atomic.plain(header)
                atomic.replace(self._spool / HEADER_FILE, json.dumps(content).encode())
                # In this order: a recorder that ends looks for spools once more after it has let go of its lock.
                with serving(root, service()) as nobody:
                    pass
                if nobody:
                    self._recorder = _start_recorder(root)
            except (OSError, TypeError, ValueError) as error:
                self._stop(str(error))

    def progress(self, rows: pd.DataFrame) -> None:
        """Report a run in progress; calls within ``every`` seconds of the last report of this run do nothing.

        Args:
            rows: all evaluations of one run so far, columns :data:`l2dynamics.results.tables.COLUMNS`.
        """
        if not self.enabled or rows.empty:
            return
        run = str(rows["run"].iloc[0])
        now = time.monotonic()
        if now - self._last.get(run, -self.every) >= self.every:
            self._last[run] = now
            self._post(run, rows, "part")

    def finished(self, rows: pd.DataFrame) -> None:
        """Report a finished run.

        Args:
            rows: all its evaluations, as they will stand in the results file.
        """
        if self.enabled and not rows.empty:
            self._post(str(rows["run"].iloc[0]), rows, "done")

    def close(self, patience: float = 0.3) -> None:
        """End the logging; what is on its way is still logged in the background.

        Args:
            patience: seconds to wait for the background process.
        """
        if not self._spool.exists() or os.getpid() != self._owner:
            return
        with suppress(OSError):
            (self._spool / END_FILE).touch()
        deadline = time.monotonic() + patience
        failed = self._spool / FAILED_FILE
        while (running := self._served()) and time.monotonic() < deadline and not failed.exists():
            time.sleep(0.02)
        self._notice_failure()
        self.enabled = False
        if not running or failed.exists():
            shutil.rmtree(self._spool, ignore_errors=True)

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _post(self, run: str, rows: pd.DataFrame, state: str) -> None:
        if self._notice_failure():
            return
        try:
            target = self._spool / f"{hashlib.sha256(run.encode()).hexdigest()[:24]}.{state}"
            # No fsync: after a power cut stage `track` logs the run.
            temporary = target.with_name(f".{target.name}.{os.getpid()}")
            temporary.write_bytes(tables.table_bytes(rows))
            temporary.replace(target)
        except (OSError, TypeError, ValueError) as error:
            self._stop(str(error))

    def _served(self) -> bool:
        """Whether the recorder has not ended and may still log something."""
        if self._recorder:
            with suppress(ChildProcessError):
                if os.waitpid(self._recorder, os.WNOHANG) != (0, 0):
                    self._recorder = 0
                    return False
        return self._spool.exists()

    def _notice_failure(self) -> bool:
        failed = self._spool / FAILED_FILE
        if self.enabled:
            with suppress(OSError):
                self._stop(failed.read_text(encoding="utf-8"))
        return not self.enabled

    def _stop(self, reason: str) -> None:
        self.enabled = False
        if os.getpid() == self._owner:
            message = f"live logging stopped, training goes on: {reason}; `dvc repro track` completes it"
            print(message, file=sys.stderr)


def spools(root: Path) -> Path:
    """Where the stages of a checkout put what is to be logged."""
    return paths.work(root) / "tracking"


def service() -> str:
    """Name of the recorder that can serve this process: one on this machine for the same store and the same user."""
    store = sorted(item for item in os.environ.items() if item[0].startswith("MLFLOW_"))
    return hashlib.sha256(repr([platform.node(), store]).encode()).hexdigest()[:16]


@contextmanager
def serving(root: Path, name: str) -> Iterator[bool]:
    """Try to hold the lock of a recorder, see :func:`service`; False if another process has it.

    Raises:
        OSError: the lock file cannot be made.
    """
    descriptor = os.open(paths.work(root) / f"recorder-{name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _start_recorder(root: Path) -> int:
    # posix_spawn: a fork of a process that runs jax's threads can deadlock. A group of its own: Ctrl-C ends
    # the training, and the recorder then logs what it was given.
    null = os.open(os.devnull, os.O_RDWR)
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "l2dynamics.tracking", "record", str(root.resolve())],
            dict(os.environ),
            file_actions=[(os.POSIX_SPAWN_DUP2, null, descriptor) for descriptor in (0, 1, 2)],
            setpgroup=0,
        )
    finally:
        os.close(null)


def _forget(folder: Path) -> None:
    for spool in folder.glob(SPOOLS):
        with suppress(OSError):
            if time.time() - spool.stat().st_mtime > _FORGOTTEN:
                shutil.rmtree(spool, ignore_errors=True)
