"""Numbers and verdicts as readers see them."""

from collections.abc import Mapping
from typing import Any

from l2dynamics.analysis.verdicts import Verdict
from l2dynamics.claims import absent

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


def score(count: Mapping[str, int]) -> str:
    """The verdicts in a sentence; see :func:`l2dynamics.claims.absent.tally`."""
    said = (
        f"Of the paper's {sum(count.values())} claims {count['confirmed']} are confirmed at this scale, "
        f"{count['contradicted']} contradicted and {count['not decided']} not decided"
    )
    waiting = count[absent.NOT_RUN]
    return f"{said}; {waiting} wait for sweeps that have not been run." if waiting else f"{said}."


def escape_markdown(text: Any) -> str:
    """Make text mean itself in Markdown, also inside a table; what stands between backticks is code."""
    spans = str(text).split("`")
    paired = len(spans) % 2 == 1
    code = set(range(1, len(spans), 2)) if paired else set()
    escaped = [span.replace("|", "\\|") if i in code else _escape(span) for i, span in enumerate(spans)]
    return ("`" if paired else "\\`").join(escaped)


def _escape(text: str) -> str:
    escaped = "".join(f"\\{letter}" if letter in "\\*_[]|~#$" else letter for letter in text)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
