"""Live logging of training: the trainer writes small files, another process carries them to MLflow.

So a trainer never waits for MLflow, nor imports it, nor dies with it. Everything here is best effort: what does not
arrive is completed by stage ``track``. This module is all that training depends on; keep it small.
"""

import hashlib
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from l2dynamics import paths
from l2dynamics.results import tables
from l2dynamics.storage import atomic

#: Set it to ``off`` and no stage logs live.
SWITCH = "L2DYNAMICS_TRACKING"
HEADER_FILE, END_FILE, FAILED_FILE = "header.json", "end", "failed"


class Tracker:
    """Logs the runs of one sweep while they are trained.

    The methods return at once and never raise. The object may be sent to worker processes; only the process that
    made it starts the recorder, speaks and closes. The header is what is known of the passport before training, at
    least :data:`l2dynamics.tracking.records.HEADER`; ``every`` are the seconds between two reports of a run's progress.
    ``delay`` are those before the recorder starts: a stage that ends earlier saves its import of MLflow, which takes a
    core for seconds, and leaves its runs to stage ``track``.
    """

    def __init__(
        self, name: str, header: Mapping[str, Any], root: Path, *, every: float = 5.0, delay: float = 0.0
    ) -> None:
        self.every = every
        self.enabled = os.environ.get(SWITCH, "").lower() not in {"off", "0", "false", "no"}
        self._owner, root = os.getpid(), root.resolve()
        self._last: dict[str, float] = {}
        self._timer: threading.Timer | None = None
        self._started = False
        self._spool = paths.work(root) / "tracking" / f"{name}-{self._owner}-{time.monotonic_ns():x}"
        if not self.enabled:
            return
        try:
            content = {"name": name, "stage": self._owner, "header": atomic.plain(header)}
            self._spool.mkdir(parents=True)
            (self._spool / HEADER_FILE).write_text(json.dumps(content), encoding="utf-8")
        except (OSError, TypeError, ValueError) as error:
            self._stop(str(error))
            return
        if delay:
            self._timer = threading.Timer(delay, self._start, (root,))
            self._timer.daemon = True
            self._timer.start()
        else:
            self._start(root)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_timer": None}

    def _start(self, root: Path) -> None:
        self._started = True
        try:
            # posix_spawn: a fork of a process that runs jax's threads can deadlock. A group of its own: Ctrl-C ends
            # the training, and the recorder then logs what it was given.
            os.posix_spawn(
                sys.executable,
                [sys.executable, "-m", "l2dynamics.tracking", "record", str(self._spool)],
                {**os.environ, "L2DYNAMICS_ROOT": str(root)},
                file_actions=[(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in range(3)],
                setpgroup=0,
            )
        except OSError as error:
            self._stop(str(error))

    def progress(self, rows: pd.DataFrame) -> None:
        """Report all evaluations of one run so far, unless it was reported within the last ``every`` seconds."""
        run, now = str(rows["run"].iloc[0]) if len(rows) else "", time.monotonic()
        if now - self._last.get(run, -self.every) >= self.every:
            self._last[run] = now
            self._post(rows, "part")

    def finished(self, rows: pd.DataFrame) -> None:
        """Report all evaluations of a finished run, as they will stand in the results file."""
        self._post(rows, "done")

    def close(self, patience: float = 0.3) -> None:
        """End the logging; what is on its way after ``patience`` seconds is still logged in the background."""
        if not self._spool.exists() or os.getpid() != self._owner:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
            if not self._started:
                self.enabled = False
                shutil.rmtree(self._spool, ignore_errors=True)
                return
        with suppress(OSError):
            (self._spool / END_FILE).touch()
        deadline = time.monotonic() + patience
        failed = self._spool / FAILED_FILE
        while self._spool.exists() and not failed.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        self._notice_failure()
        self.enabled = False
        if failed.exists():
            shutil.rmtree(self._spool, ignore_errors=True)

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _post(self, rows: pd.DataFrame, state: str) -> None:
        self._notice_failure()
        if not self.enabled or rows.empty:
            return
        try:
            name = hashlib.sha256(str(rows["run"].iloc[0]).encode()).hexdigest()[:24]
            temporary = self._spool / f"{name}.{os.getpid()}"
            # No fsync: after a power cut stage `track` logs the run.
            temporary.write_bytes(tables.table_bytes(rows))
            temporary.replace(temporary.with_suffix(f".{state}"))
        except (OSError, TypeError, ValueError) as error:
            self._stop(str(error))

    def _notice_failure(self) -> None:
        with suppress(OSError):
            self._stop((self._spool / FAILED_FILE).read_text(encoding="utf-8"))

    def _stop(self, reason: str) -> None:
        if self.enabled and os.getpid() == self._owner:
            message = f"live logging stopped, training goes on: {reason}; `dvc repro track` completes it"
            print(message, file=sys.stderr)
        self.enabled = False
