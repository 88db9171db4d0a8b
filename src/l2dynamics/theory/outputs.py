"""Results of stage ``theory``: a long table ``results/theory.csv`` and a passport with every number of the report.

The table has one row per point: ``panel`` (a, b, c of Figure 5, or kernel, minimum, decay, test, own), ``curve``,
``x``, ``y`` and the parameters the point belongs to (NaN where one does not apply).
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from l2dynamics import paths
from l2dynamics.results.tables import Results, ResultsError
from l2dynamics.storage import atomic

COLUMNS = ("panel", "curve", "x", "y", "low", "high", "k", "gamma", "l2", "width", "depth", "seed")
_TEXT = ("panel", "curve")
_REMEDY = "run `dvc repro theory`"


def write(rows: Iterable[Mapping[str, Any]], passport: Mapping[str, Any], root: Path) -> None:
    """Write table and passport, each atomically; a process killed between the two leaves a pair :func:`load` refuses.

    Raises:
        OSError: a file cannot be written.
    """
    table = pd.DataFrame(list(rows), columns=list(COLUMNS))
    content = table.to_csv(index=False, lineterminator="\n").encode()
    folder = paths.results(root)
    folder.mkdir(parents=True, exist_ok=True)
    atomic.replace(folder / "theory.csv", content)
    digest = hashlib.sha256(content).hexdigest()
    atomic.replace(
        folder / "theory.json", atomic.json_bytes(atomic.plain({**passport, "csv_sha256": digest}))
    )


def load(root: Path | None = None) -> Results:
    """Read and verify what :func:`write` wrote.

    Raises:
        ResultsError: a file is missing, unreadable or altered; one line that names file and remedy.
    """
    import io
    import json

    folder = paths.results(root or paths.find_root())
    contents = {}
    for name in ("theory.csv", "theory.json"):
        try:
            contents[name] = (folder / name).read_bytes()
        except FileNotFoundError:
            raise ResultsError(f"results/{name} is missing: {_REMEDY}") from None
        except OSError as error:
            raise ResultsError(f"results/{name} cannot be read: {error.strerror}") from error
    try:
        passport = json.loads(contents["theory.json"])
        if passport["csv_sha256"] != hashlib.sha256(contents["theory.csv"]).hexdigest():
            raise ResultsError(f"results/theory.csv is not the one that theory.json describes: {_REMEDY}")
        text = dict.fromkeys(_TEXT, str)
        table = pd.read_csv(
            io.BytesIO(contents["theory.csv"]), dtype=text, keep_default_na=False, na_values=""
        )
        numbers = [c for c in COLUMNS if c not in _TEXT]
        return Results("theory", table[list(COLUMNS)].astype(dict.fromkeys(numbers, "float64")), passport)
    except ResultsError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise ResultsError(f"results/theory.csv or .json is damaged: {_REMEDY}") from error
