"""Results that a scale does not have yet: the claims that need them are not decided, the others are judged.

Of a scale that takes hours one sweep after the other can so be judged and shown:
``dvc repro -s claims report overview``.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from l2dynamics import paths
from l2dynamics.analysis.blocks import Lacking
from l2dynamics.analysis.verdicts import Verdict
from l2dynamics.results import tables
from l2dynamics.results.tables import Results

NOT_RUN = "not run yet"
_STAGE = re.compile(rf"{NOT_RUN} at this scale: `dvc repro ([^`]+)`")
_STATUS = "absent"


def load(names: Iterable[str], root: Path | None = None) -> dict[str, Results]:
    """Read results; those that were never made are empty, see :func:`is_absent`.

    Args:
        names: of the results.
        root: the checkout; None finds it from the working directory.

    Raises:
        ResultsError: the scale has no results at all, or a file is damaged; the message names the stage that makes it.
    """
    root = root or paths.find_root()
    folder, wanted = paths.results(root), list(dict.fromkeys(names))
    made = [name for name in wanted if any((folder / f"{name}{end}").exists() for end in (".json", ".csv"))]
    if not any(folder.glob("*.json")):
        made = wanted[:1]
    found = {name: tables.load(name, root) for name in made}
    scale = paths.scale(root)
    return {name: found.get(name) or _empty(name, scale) for name in wanted}


def _empty(name: str, scale: str) -> Results:
    table = pd.DataFrame(columns=list(tables.form(name).columns))
    return Results(name, table, {"scale": scale, "status": _STATUS})


def is_absent(results: Results) -> bool:
    """Whether these results have not been made."""
    return results.passport.get("status") == _STATUS


def reason(results: Results) -> str:
    """What the verdict of a claim says that needs them."""
    return f"{NOT_RUN} at this scale: `dvc repro {tables.stage(results.name)}`"


def require(results: Results) -> None:
    """Check that results have been made.

    Raises:
        Lacking: they have not.
    """
    if is_absent(results):
        raise Lacking(reason(results))


def not_run(record: Mapping[str, Any]) -> bool:
    """Whether a claim, as its record says it, waits for results that have not been made."""
    return record["measured"] is None and NOT_RUN in str(record["reason"])


def tally(records: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """How many of the paper's claims have each verdict, those that wait for results (:data:`NOT_RUN`) apart.

    Args:
        records: claims by id; their parts and what is ours do not count.
    """
    whole = [record for id, record in records.items() if id.isdigit()]
    waiting = sum(map(not_run, whole))
    judged = [record for record in whole if not not_run(record)]
    return {str(one): sum(record["verdict"] == one for record in judged) for one in Verdict} | {
        NOT_RUN: waiting
    }


def waiting(records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The stages that claims, as their records say it, wait for, sorted."""
    return sorted({name for record in records.values() for name in _STAGE.findall(str(record["reason"]))})


def missing(results: Mapping[str, Results]) -> list[str]:
    """Names of the results that have not been made."""
    return [name for name, one in results.items() if is_absent(one)]
