"""Numbers and verdicts as readers see them."""

from typing import Any

from l2dynamics.analysis.verdicts import Verdict

VERDICTS = {Verdict.CONFIRMED: "holds", Verdict.CONTRADICTED: "fails", Verdict.UNDECIDED: "open"}
"""CSS class of each verdict."""


def number(value: Any) -> str:
    """Return a number for readers: three significant digits, a true minus sign, – for none."""
    if value is None:
        return "–"
    if not isinstance(value, int | float) or isinstance(value, bool):
        return str(value)
    shown = f"{value:.3g}"
    return shown.replace("-", "−")
