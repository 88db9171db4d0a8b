"""Whether a SQLite store already holds exactly the wanted runs, asked without MLflow, whose import takes seconds.

Only a yes counts. Whatever else the file says, tables of another MLflow included, the sync goes through MLflow.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from l2dynamics.tracking.catalog import Experiment
from l2dynamics.tracking.records import Record
from l2dynamics.tracking.store import ARTIFACTS, DIGEST, KEY, PARENT, experiment_tags

_RUNS = f"""
SELECT key.value, digest.value, runs.status, experiments.name, parent_key.value FROM runs
JOIN experiments USING (experiment_id)
JOIN tags AS key ON key.run_uuid = runs.run_uuid AND key.key = '{KEY}'
LEFT JOIN tags AS digest ON digest.run_uuid = runs.run_uuid AND digest.key = '{DIGEST}'
LEFT JOIN tags AS parent ON parent.run_uuid = runs.run_uuid AND parent.key = '{PARENT}'
LEFT JOIN tags AS parent_key ON parent_key.run_uuid = parent.value AND parent_key.key = '{KEY}'
WHERE runs.lifecycle_stage = 'active' AND experiments.lifecycle_stage = 'active'
"""
_EXPERIMENTS = "SELECT name, key, value FROM experiments JOIN experiment_tags USING (experiment_id)"
_PLACES = (
    "SELECT artifact_location FROM experiments JOIN experiment_tags USING (experiment_id) WHERE key = 'setup'"
)


class Wanted(NamedTuple):
    """A run that the store shall hold once, and where."""

    experiment: Experiment
    record: Record
    parent: str | None = None  # key of its parent run
    family: str = ""  # start of the keys of which the store shall hold no others


def settled(database: Path, wanted: Iterable[Wanted]) -> bool:
    """Whether every wanted run is there: once, finished, with its digest, its parent and its experiment as they are."""
    wanted, artifacts = list(wanted), (database.parent / ARTIFACTS).as_uri()
    families = tuple(f"{family}/" for family in {one.family for one in wanted} - {""})
    expected = sorted(
        (one.record.key, one.record.digest, "FINISHED", one.experiment.title, one.parent or "")
        for one in wanted
    )
    keys = {one.record.key for one in wanted}
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            found = [tuple(value or "" for value in row) for row in connection.execute(_RUNS)]
            tags = set(connection.execute(_EXPERIMENTS))
            places = [place for (place,) in connection.execute(_PLACES)]
    except sqlite3.Error:
        return False
    described = {
        (one.experiment.title, key, value)
        for one in wanted
        for key, value in experiment_tags(one.experiment).items()
    }
    return (
        sorted(row for row in found if row[0] in keys or row[0].startswith(families)) == expected
        and described <= tags
        and all(place.rpartition("/")[0] == artifacts for place in places if place.startswith("file:"))
    )
