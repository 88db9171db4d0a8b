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
from l2dynamics.tracking import address, catalog, records
from l2dynamics.tracking.live import END_FILE, FAILED_FILE, HEADER_FILE
from l2dynamics.tracking.store import KEY, Store

#: Seconds between two looks for reports, and how long to go on after the stage has ended.
_PAUSE, _AFTER_END = 0.3, 120.0


class Recorder:
    """Logs the runs of the sweep ``name`` as they come; ``header`` is what is known of its passport.

    A run begun by somebody else and not finished is replaced: its points may come from a run that was killed.
    """

    def __init__(self, store: Store, name: str, header: Mapping[str, Any]) -> None:
        self.store, self.name, self.header = store, name, header
        self._begun: dict[str, str] = {}

    def log(self, content: bytes, *, finished: bool) -> None:
        """Log all rows of one run so far, as CSV; a report that comes after that of the finished run does nothing."""
        record = records.of_rows(self.name, self.header, tables.parse(content))[0]
        with (store := self.store).locked():
            experiment = store.experiment(catalog.experiment(self.name))
            present = store.find(experiment, KEY, record.key)
            own = [run for run in present if run.info.run_id == self._begun.get(record.key)]
            ended = any(run.info.status == "FINISHED" for run in own)
            if ended or (finished and any(store.complete(run, record) for run in present)):
                return
            store.delete(run for run in present if run not in own)
            if not own:
                sweep = records.of_sweep(self.name, self.header)
                parents = store.find(experiment, KEY, sweep.key) or [store.create(experiment, sweep)]
                own = [store.create(experiment, record, parents[0].info.run_id)]
            self._begun[record.key] = own[0].info.run_id
            store.log(own[0], record, finished=finished)


def serve(root: Path, spool: Path) -> int:
    """Log what a stage reports in its spool until it has ended; the first failure ends it, too."""
    known = json.loads((spool / HEADER_FILE).read_text(encoding="utf-8"))

    def ended() -> bool:
        return (spool / END_FILE).exists() or os.getppid() != known["stage"] or not spool.exists()

    recorder, deadline = None, float("inf")
    try:
        while time.monotonic() < deadline:
            if last := ended():  # looked up before the reports: none can come after it
                deadline = min(deadline, time.monotonic() + _AFTER_END)
            report = next((file for state in ("done", "part") for file in spool.glob(f"*.{state}")), None)
            if report is not None:
                if recorder is None:
                    recorder = Recorder(Store(root), known["name"], known["header"])
                    os.nice(10)  # not before: with all cores training, MLflow would be imported for a minute
                content = report.read_bytes()
                report.unlink()
                recorder.log(content, finished=report.suffix == ".done")
            elif last:
                break
            else:
                time.sleep(_PAUSE)
    except Exception as error:
        expected = isinstance(error, address.TrackingError)
        reason = f"{error}" if expected else f"{type(error).__name__}: {error}"
        with suppress(OSError):
            atomic.replace(spool / FAILED_FILE, address.public(reason).encode())
        if not ended():
            return 1  # the stage reads the failure and removes the spool
    shutil.rmtree(spool, ignore_errors=True)
    return 0
