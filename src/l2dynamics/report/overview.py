"""The overview of all scales: every claim of the paper, what each scale says about it, the figures of the largest."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup

from l2dynamics import paths
from l2dynamics.claims import absent, evaluation, judging
from l2dynamics.experiments import registry
from l2dynamics.experiments.scales import SCALES
from l2dynamics.report import document
from l2dynamics.report.words import number
from l2dynamics.storage import atomic

HEADLINES = ("fig1", "fig2", "fig4")
"""Figures shown, each of the largest scale that has it."""

UNSHOWN = ("smoke",)
"""Scales that only show that the machinery works."""


def scales(root: Path) -> list[str]:
    """The scales with claims, small ones first; those that are not shown only where there is no other."""
    found = [name for name in SCALES if any(paths.claims(root, name).glob("*.json"))]
    return [name for name in found if name not in UNSHOWN] or found


def collect(root: Path) -> dict[str, Any]:
    """Everything that the template shows.

    Args:
        root: the checkout.

    Raises:
        ValueError: no scale has claims, or one is damaged; the message names the stage.
    """
    found = scales(root)
    if not found:
        raise ValueError("no scale has claims: run `dvc repro claims`")
    records = {scale: evaluation.read(paths.claims(root, scale)) for scale in found}
    figures = []
    for name in HEADLINES:
        having = [scale for scale in found if (paths.figures(root, scale) / f"{name}.png").is_file()]
        for scale in having[-1:]:
            figures.append((name, scale, document.picture(paths.figures(root, scale), name).caption))
    return {
        "title": document.TITLE,
        "scales": [about(scale, records[scale]) for scale in found],
        "rows": [row(id, records) for id in sorted(set().union(*records.values()), key=evaluation.order)],
        "figures": figures,
    }


def about(scale: str, records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Name, data and verdicts of one scale; the paper's claims only, without their parts."""
    whole = [record for id, record in records.items() if id.isdigit()]
    data = dict.fromkeys(part for record in whole for part in str(record["data"]).split(", ") if part)
    return {
        "name": scale,
        "counts": absent.tally(records),
        "waiting": absent.waiting(records),
        "data": ", ".join(data),
    }


def row(id: str, records: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """One claim: its first sentence, the paper's number, and what every scale found."""
    present = [found[id] for found in records.values() if id in found]
    return {
        "id": id,
        "main": id.isdigit(),
        "short": f"{evaluation.short(str(present[0]['claim']))}.",
        "paper": number(present[0]["paper"]),
        "found": {scale: _cell(found.get(id)) for scale, found in records.items()},
    }


def _cell(record: Mapping[str, Any] | None) -> str:
    if record is None:
        return "–"
    label, measured = str(record["verdict"]), number(record["measured"])
    if measured == "–":
        return absent.NOT_RUN if absent.not_run(record) else label
    low, high = (number(record[end]) for end in ("low", "high"))
    alone, _, rest = str(record["reason"]).partition(judging.ALONE)
    by = f" (by {registry.title(alone)} alone)" if rest and registry.find(alone) else ""
    return f"{label}: {measured}" + ("" if "–" in (low, high) else f" [{low}, {high}]") + by


def write(root: Path) -> list[Path]:
    """Write ``reports/README.md`` and ``reports/index.html``, each atomically; return the two paths.

    Raises:
        ValueError: see :func:`collect`.
    """
    shown = collect(root)
    text = document.tidy(document.template("overview.md.j2", escape=False).render(overview=shown))
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    page = document.template("overview.html.j2", escape=True).render(
        title=shown["title"],
        body=Markup(body),
        css=Markup((document.TEMPLATES / "report.css").read_text("utf-8")),
    )
    targets: Sequence[Path] = [root / "reports" / "README.md", root / "reports" / "index.html"]
    for target, content in zip(targets, (text, page), strict=True):
        atomic.replace(target, content.encode())
    return list(targets)
