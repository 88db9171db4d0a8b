"""Fill "Measured in this repository" of docs/library.md from results and claims, as far as they exist.

Run it after the pipeline: ``python scripts/update_library_docs.py``; ``--check`` only says whether it is up to date.
"""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from l2dynamics import paths
from l2dynamics.prediction import predict_l2

BEGIN = "<!-- measured: written by scripts/update_library_docs.py, do not edit -->"
END = "<!-- end of measured -->"
# What is said about the library's two methods: prediction, AutoL2, and the exception.
CLAIMS = ("07", "08", "09", "10", "11", "14", "c")
BUDGETS = (10, 50, 200)


def number(value: Any) -> str:
    """Return a number of a JSON file for reading; what is not one becomes a dash."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    return f"{value:.3g}"


def interval(found: Mapping[str, Any]) -> str:
    """Return the range of a measurement, or a dash where none was made."""
    low, high = number(found.get("low")), number(found.get("high"))
    return low if low == high == "–" else f"{low} to {high}"


def coefficients(path: Path) -> list[str]:
    """Return the table of c, and of the coefficients that it predicts."""
    if not path.is_file():
        return [f"No coefficients yet: `{path.name}` is written by stage `measure_c`."]
    passport = json.loads(path.read_text(encoding="utf-8"))
    lines = [
        f"c at scale `{passport.get('scale', 'unknown')}`, and the λ that follows from it:",
        "",
        "| network | η | c (epochs) | range | "
        + " | ".join(f"λ for {budget} epochs" for budget in BUDGETS)
        + " |",
        "| --- " * (4 + len(BUDGETS)) + "|",
    ]
    for setup, found in sorted(passport.get("c", {}).items()):
        c = found.get("c")
        usable = isinstance(c, int | float) and math.isfinite(c) and c > 0
        predicted = [number(predict_l2(c, budget)) if usable else "–" for budget in BUDGETS]
        cells = [
            setup,
            number(found.get("eta")),
            number(c),
            interval(found),
        ]
        lines.append("| " + " | ".join([*cells, *predicted]) + " |")
    return lines


def claims(folder: Path) -> list[str]:
    """Return the table of the claims that concern the library."""
    files = [path for path in sorted(folder.glob("*.json")) if path.stem.startswith(CLAIMS)]
    if not files:
        return ["No claims yet: `claims/` is written by stage `claims`."]
    lines = ["| claim | what | measured | interval | n | verdict |", "| --- | --- | --- | --- | --- | --- |"]
    for path in files:
        claim = json.loads(path.read_text(encoding="utf-8"))
        text = " ".join(str(claim.get("claim", "")).split()).replace("|", "\\|")
        cells = [
            path.stem,
            text,
            number(claim.get("measured")),
            interval(claim),
            number(claim.get("n")),
            str(claim.get("verdict", "not decided")),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def updated(page: str, root: Path) -> str:
    """Return the page with the text between the two markers replaced.

    Raises:
        ValueError: a marker is missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"docs/library.md lacks one of its markers: {BEGIN} … {END}")
    measured = paths.results(root, paths.DEFAULT_SCALE) / "measure_c.json"
    body = [*coefficients(measured), "", *claims(paths.claims(root, paths.DEFAULT_SCALE))]
    return "\n".join([before + begin, "", *body, "", end + after])


def main(arguments: list[str], root: Path) -> int:
    """Update or check the page; return the exit code."""
    path = root / "docs" / "library.md"
    try:
        page = path.read_text(encoding="utf-8")
        new = updated(page, root)
    except (OSError, ValueError) as error:
        print(f"update_library_docs: {error}", file=sys.stderr)
        return 2
    if "--check" in arguments:
        if new != page:
            print(
                "docs/library.md is not up to date: run python scripts/update_library_docs.py",
                file=sys.stderr,
            )
        return int(new != page)
    path.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).resolve().parents[1]))
