"""The process that carries a training stage's reports to MLflow (see :mod:`l2dynamics.tracking.live`)."""

import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from l2dynamics import history
from l2dynamics.tracking import address, catalog, records
from l2dynamics.tracking.live import END_FILE, FAILED_FILE, HEADER_FILE
from l2dynamics.tracking.store import KEY, Store

#: Seconds between two looks for reports, and how long to go on after the stage has ended.
_PAUSE, _AFTER_END = 0.3, 120.0


class Recorder:
    """Logs the runs of one sweep as they come.

    A run begun by somebody else and not finished is replaced: its points may come from a run that was killed.

    Args:
        store: where to.
        name: name of the results.
        header: what is known of the passport.
    """

    def __init__(self, store: Store, name: str, header: Mapping[str, Any]) -> None:
        self.store, self.name, self.header = store, name, header
        self._begun: dict[str, tuple[Any, int]] = {}
        self._done: set[str] = set()

    def log(self, content: bytes, *, finished: bool) -> None:
        """Log one report.

        Args:
            content: all rows of one run so far, as CSV.
            finished: whether the run is complete.

        Raises:
            TrackingError: the store cannot be used.
        """
        record = records.of_rows(self.name, self.header, history.parse(content))[0]
        if record.key in self._done:
            return
        store = self.store
        with store.locked():
            experiment = store.experiment(catalog.experiment(self.name))
            present = store.find(experiment, KEY, record.key).get(record.key, [])
            run, rows = self._begun.get(record.key, (None, 0))
            others = [r for r in present if run is None or r.info.run_id != run.info.run_id]
            if finished and any(store.complete(r, record.digest) for r in present):
                self._done.add(record.key)
                return
            store.delete(others)
            if run is None or len(others) == len(present):
                run, rows = store.create(experiment, record, self._parent(experiment)), 0
                store.dataset(run, self.header.get("data") or {})
            points = records.curves(record, rows)
            params = record.params if rows == 0 else {}
            if finished:
                points += records.outcomes([record], int(self.header.get("classes") or 10))[record.key]
                store.finish(run, points, params, record)
                self._begun.pop(record.key, None)
                self._done.add(record.key)
            else:
                store.fill(run, points, params)
                self._begun[record.key] = (run, len(record.rows))

    def _parent(self, experiment: str) -> str:
        parent = records.of_sweep(self.name, self.header)
        present = self.store.find(experiment, KEY, parent.key).get(parent.key, [])
        run = present[0] if present else self.store.create(experiment, parent)
        return str(run.info.run_id)


def serve(spool: Path) -> None:
    """Log what appears in a spool folder until its stage has ended; the first failure ends it, too."""
    with suppress(OSError):
        os.nice(10)
    try:
        _serve(spool)
    except FileNotFoundError:
        return
    except Exception as error:
        reason = (
            str(error) if isinstance(error, address.TrackingError) else f"{type(error).__name__}: {error}"
        )
        with suppress(OSError):
            history.replace(spool / FAILED_FILE, address.public(reason).encode())
    else:
        shutil.rmtree(spool, ignore_errors=True)


def _serve(spool: Path) -> None:
    content = json.loads((spool / HEADER_FILE).read_text(encoding="utf-8"))
    root = Path(content["root"])
    recorder: Recorder | None = None
    deadline = float("inf")
    while time.monotonic() < deadline:
        # Looked up before the reports: none can come after it.
        ended = (spool / END_FILE).exists() or os.getppid() != content["pid"]
        if ended and deadline == float("inf"):
            deadline = time.monotonic() + _AFTER_END
        reports = sorted((p for p in spool.iterdir() if p.suffix in {".part", ".done"}), key=_age)
        for report in reports:
            taken = report.with_suffix(f"{report.suffix}-taken")
            with suppress(FileNotFoundError):
                report.replace(taken)
            if recorder is None:
                store = Store(address.tracking_uri(root), root)
                recorder = Recorder(store, content["name"], content["header"])
            recorder.log(taken.read_bytes(), finished=report.suffix == ".done")
            taken.unlink()
        if not reports:
            if ended:
                return
            time.sleep(_PAUSE)


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
