"""The process that carries a training stage's reports to MLflow (see :mod:`l2dynamics.tracking.live`)."""

import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from l2dynamics.results import tables
from l2dynamics.storage import atomic
from l2dynamics.tracking import address, catalog, live, records
from l2dynamics.tracking.live import END_FILE, FAILED_FILE, HEADER_FILE
from l2dynamics.tracking.store import KEY, Store

#: Seconds between two looks for reports, and how long to go on after a stage has ended.
_PAUSE, _AFTER_END = 0.3, 120.0
#: Seconds to wait for another stage: in a `dvc repro` it comes.
_LINGER = 30.0 if "DVC_STAGE" in os.environ else 0.0


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
        record = records.of_rows(self.name, self.header, tables.parse(content))[0]
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


def serve(root: Path) -> None:
    """Log what the stages of a checkout report, until all have ended; the first failure ends it, too.

    Args:
        root: the checkout.
    """
    name = live.service()  # before MLflow's time limits change the environment
    while _waiting(root, name):
        with live.serving(root, name) as alone:
            if not alone:
                return
            reason = _serve(root, name)
        if reason:
            for spool in _waiting(root, name):
                with suppress(OSError):
                    atomic.replace(spool.path / FAILED_FILE, reason.encode())
                spool.end(failed=True)
            return


def _serve(root: Path, name: str) -> str:
    """Log reports until nobody has sent any for a while; return why it failed, or nothing."""
    store: Store | None = None
    known: dict[Path, _Spool] = {}
    quiet_since = time.monotonic()
    polite = False
    try:
        while True:
            known = {spool.path: known.get(spool.path, spool) for spool in _waiting(root, name)}
            busy = False
            for spool in known.values():
                if store is None and spool.reports():
                    store = Store(address.tracking_uri(root), root)
                busy |= store is not None and spool.log(store)
                spool.end()
            if busy and not polite:
                # Not before: with all cores training, it would import MLflow for a minute, and a short sweep would
                # be over before its first run appears.
                polite = True
                with suppress(OSError):
                    os.nice(10)
            if known:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since >= _LINGER or _deleted(root, store):
                return ""
            if not busy:
                time.sleep(_PAUSE)
    except Exception as error:
        known_error = isinstance(error, address.TrackingError)
        return address.public(str(error) if known_error else f"{type(error).__name__}: {error}")


class _Spool:
    """What one stage reports."""

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        self.path, self._content = path, content
        self._recorder: Recorder | None = None
        self._deadline = float("inf")

    def reports(self) -> list[Path]:
        """The reports that wait, oldest first."""
        with suppress(FileNotFoundError):
            return sorted((p for p in self.path.iterdir() if p.suffix in {".part", ".done"}), key=_age)
        return []

    def log(self, store: Store) -> bool:
        """Log the reports that wait; whether there were any."""
        reports = self.reports()
        for report in reports:
            taken = report.with_suffix(f"{report.suffix}-taken")
            with suppress(FileNotFoundError):
                report.replace(taken)
            if self._recorder is None:
                self._recorder = Recorder(store, self._content["name"], self._content["header"])
            try:
                content = taken.read_bytes()
            except FileNotFoundError:
                continue
            self._recorder.log(content, finished=report.suffix == ".done")
            taken.unlink(missing_ok=True)
        return bool(reports)

    def end(self, *, failed: bool = False) -> None:
        """Remove the spool of a stage that has ended if its reports are logged, come too late or cannot be logged."""
        # Looked up before the reports: none can come after it.
        if not (self.path / END_FILE).exists() and atomic.lives(int(self._content["pid"])):
            return
        self._deadline = min(self._deadline, time.monotonic() + _AFTER_END)
        if failed or not self.reports() or time.monotonic() > self._deadline:
            shutil.rmtree(self.path, ignore_errors=True)


def _waiting(root: Path, name: str) -> list[_Spool]:
    """The spools that this recorder has to serve."""
    found = []
    for path in sorted(live.spools(root).glob(live.SPOOLS)):
        with suppress(OSError, ValueError):
            content = json.loads((path / HEADER_FILE).read_text(encoding="utf-8"))
            if content["service"] == name and not (path / FAILED_FILE).exists():
                found.append(_Spool(path, content))
    return found


def _deleted(root: Path, store: Store | None) -> bool:
    """Whether what this process works with is gone: the next stage needs another one."""
    return not live.spools(root).is_dir() or (store is not None and not store.exists())


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
