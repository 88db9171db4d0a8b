"""The report: claims, figures, choices and provenance as one HTML page and as Markdown, from files alone.

Nothing is computed here: claims come from ``claims``, figures and captions from ``figures`` in the
folder of the scale, the rest from its passports. The same files give the same bytes.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markdown_it import MarkdownIt
from markupsafe import Markup
from PIL import Image

from l2dynamics import paths
from l2dynamics.analysis.verdicts import Verdict
from l2dynamics.claims import absent, evaluation
from l2dynamics.claims.base import OURS
from l2dynamics.figures import gallery
from l2dynamics.report import curves, provenance, setups
from l2dynamics.report.headlines import HEADLINES
from l2dynamics.report.words import VERDICTS, escape_markdown, number, score
from l2dynamics.storage import atomic
from l2dynamics.tracking import catalog, views

TITLE = "Training dynamics of deep networks with L2 regularization"
TEMPLATES = Path(__file__).parent / "templates"
MAX_BYTES = 8_000_000
"""Upper limit of the HTML page: larger ones load badly from a code host or a phone."""

SCREEN = 0.62
"""Pixels on the page per pixel of the PNG: text in figures is then a little smaller than that of the page."""


@dataclass(frozen=True)
class Label:
    """A verdict: CSS class and words."""

    key: str
    label: str


@dataclass(frozen=True)
class Row:
    """One claim as shown; numbers are text, ``…_value`` are sort keys (empty where there is no number)."""

    id: str
    position: str
    part: bool
    short: str
    detail: str
    text: str
    paper: str
    measured: str
    interval: str
    n: int
    verdict: Label
    reason: str
    power: str
    kind: str
    figures: tuple[str, ...]
    experiments: tuple[tuple[str, str], ...]
    data: str
    paper_value: str
    measured_value: str
    low_value: str

    @property
    def ours(self) -> bool:
        """Whether the claim is exploratory, not the paper's."""
        return self.kind == OURS


@dataclass(frozen=True)
class Picture:
    """One figure: paths are relative to the report, ``uri`` holds the image itself."""

    name: str
    title: str
    caption: str
    png: str
    svg: str
    data: str
    command: str
    uri: str
    width: int
    height: int


def write(root: Path, theory: str) -> list[Path]:
    """Write ``index.html`` and ``README.md`` of the scale in force, each atomically.

    Args:
        root: the checkout.
        theory: the section on theory, in Markdown.

    Returns:
        The two paths.

    Raises:
        ValueError: claims or passports are missing, one of these or a figure is damaged (the message names the
            stage), or the page would exceed :data:`MAX_BYTES`.
    """
    records = evaluation.read(paths.claims(root))
    passports = provenance.read(paths.results(root))
    pictures = {
        name: picture(paths.figures(root), name)
        for name in gallery.NAMES
        if gallery.drawable(name, names_of(passports)) or (paths.figures(root) / f"{name}.png").exists()
    }
    choices = (TEMPLATES / "choices.md").read_text(encoding="utf-8")
    report = assemble(records, passports, pictures, evaluation.read_regimes(paths.claims(root)))
    page = html(report, theory, choices, curves.dumps(curves.collect(root))).encode()
    if len(page) > MAX_BYTES:
        raise ValueError(
            f"index.html would have {len(page) / 1e6:.1f} MB, more than {MAX_BYTES / 1e6:.0f}: set "
            "figures.style to paper in params.yaml, or plot fewer points"
        )
    folder = paths.reports(root)
    targets = [folder / "index.html", folder / "README.md"]
    atomic.replace(targets[0], page)
    atomic.replace(targets[1], markdown(report, theory, choices).encode())
    return targets


def assemble(
    records: Mapping[str, Mapping[str, Any]],
    passports: Sequence[Mapping[str, Any]],
    pictures: Mapping[str, Picture],
    regimes: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return everything the templates show, as text and :class:`Row`, :class:`Picture` values.

    Args:
        records: claims by id, in display order.
        passports: of all results, sorted by name.
        pictures: figures by name, in display order.
        regimes: which setups may judge, one record each.
    """
    rows = [row(position, id, record) for position, (id, record) in enumerate(records.items())]
    by_id = {one.id: one for one in rows}
    main = [one for one in rows if one.id.isdigit()]
    count = absent.tally(records)
    headlines: list[dict[str, Any]] = [
        {
            "title": title,
            "text": text,
            "rows": [by_id[id] for id in ids if id in by_id and not by_id[id].ours],
            "ours": [by_id[id] for id in ids if id in by_id and by_id[id].ours],
            "figures": [pictures[name] for name in names if name in pictures],
            "explorer": explorer if explorer["sweep"] in names_of(passports) else None,
        }
        for title, text, ids, names, explorer in HEADLINES
    ]
    shown = [one for part in headlines for one in part["figures"]]
    scale = " + ".join(dict.fromkeys(str(passport["scale"]) for passport in passports))
    return {
        "title": TITLE,
        "scale": scale,
        "score": score(count),
        "headlines": headlines,
        "rows": [one for one in rows if not one.ours],
        "ours": [one for one in rows if one.ours],
        "main": main,
        "may_judge": setups.MAY_JUDGE,
        "regimes": [setups.row(one) for one in regimes],
        "open": [one for one in main if one.power],
        "failed": [one for one in main if one.verdict.label == Verdict.CONTRADICTED],
        "shown": shown,
        "gallery": [one for one in pictures.values() if one not in shown],
        "undrawn": [figure_title(name) for name in gallery.NAMES if name not in pictures],
        "setups": [line for passport in passports for line in provenance.setups(passport)],
        **provenance.making(passports, scale),
    }


def row(position: int, id: str, record: Mapping[str, Any]) -> Row:
    """Return one claim as shown. The first sentence of its text is the short form, the rest the detail."""
    text = str(record["claim"])
    short, _, detail = text.partition(". ")
    low, high, level = record["low"], record["high"], record["level"]
    interval = "–" if low is None or high is None else f"{number(low)} … {number(high)}"
    if level is not None and interval != "–":
        interval += f" ({level:.0%})"
    return Row(
        id=id,
        position=f"{position:03d}",
        part="-" in id,
        short=short.rstrip(".") + ".",
        detail=detail,
        text=text,
        paper=number(record["paper"]),
        measured=number(record["measured"]),
        interval=interval,
        n=int(record["n"]),
        verdict=Label(VERDICTS[Verdict(record["verdict"])], str(record["verdict"])),
        reason=str(record["reason"]),
        power=str(record["power"]),
        kind=str(record["kind"]),
        figures=tuple(str(record["figure"]).split()),
        experiments=experiments(id, str(record["figure"]).split()),
        data=str(record["data"]),
        paper_value=_key(record["paper"]),
        measured_value=_key(record["measured"]),
        low_value=_key(low),
    )


def experiments(id: str, shown: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the MLflow experiments whose runs decide a claim: name and address under `make ui`.

    Args:
        id: of the claim; ``01-wrn_aug`` names its setup, a claim over setups has all of its figures.
        shown: its figures.
    """
    part = id.partition("-")[2].partition("-")[0]
    found = [entry for entry in catalog.ALL if set(entry.figures) & set(shown)]
    if part:
        named = [entry for entry in catalog.ALL if entry.setup == part]
        # AutoL2 on `wrn` is in the experiment `wrn_aug`, which has the figure.
        alike = [entry for entry in found if entry.setup.startswith(part)]
        own = [entry for entry in found if entry in named]
        found = (
            own + [entry for entry in found if entry.setup == "beyond"] if own else alike or found or named
        )
    return tuple(
        (entry.setup, f"{curves.SERVER}/#/experiments/{catalog.number(entry)}/runs?{views.ADDRESS}")
        for entry in found
    )


def names_of(passports: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the names of the results."""
    return {str(passport["name"]) for passport in passports}


def picture(folder: Path, name: str) -> Picture:
    """Read one figure: caption from the metadata of the PNG, image from the smaller of PNG and SVG.

    Raises:
        ValueError: a file of the figure is missing or has no caption; the message names the stage.
    """
    command = f"dvc repro {gallery.stage(name)}"
    png, svg, data = folder / f"{name}.png", folder / f"{name}.svg", folder / "data" / f"{name}.csv"
    for path in (png, svg, data):
        if not path.is_file():
            raise ValueError(f"{paths.shown(path)} is missing: run `{command}`")
    with Image.open(png) as image:
        caption = str(image.info.get("Description", ""))
        width, height = (round(pixels * SCREEN) for pixels in image.size)
    if not caption:
        raise ValueError(f"{name}.png has no caption in its metadata: run `{command}`")
    title = figure_title(name)
    smaller, kind = min((png, "png"), (svg, "svg+xml"), key=lambda pair: pair[0].stat().st_size)
    content = base64.b64encode(smaller.read_bytes()).decode()
    return Picture(
        name=name,
        title=title,
        caption=caption.removeprefix(f"{title}. "),
        png=f"figures/{name}.png",
        svg=f"figures/{name}.svg",
        data=f"figures/data/{name}.csv",
        command=command,
        uri=f"data:image/{kind};base64,{content}",
        width=width,
        height=height,
    )


def figure_title(name: str) -> str:
    """``Figure S1`` of ``figS1``."""
    return "Figure " + name.removeprefix("fig")


def html(report: Mapping[str, Any], theory: str, choices: str, data: str) -> str:
    """Render the page. Everything from files is escaped; Markdown is rendered without raw HTML.

    Args:
        report: from :func:`assemble`.
        theory: Markdown.
        choices: Markdown.
        data: of the interactive curves, from :func:`l2dynamics.report.curves.dumps`.
    """
    render = MarkdownIt("commonmark", {"html": False}).enable("table").render
    plotter = TEMPLATES / "vendor" / "uplot"
    return template("report.html.j2", escape=True).render(
        report=report,
        theory=Markup(render(theory)),
        choices=Markup(render(choices)),
        css=_inline(plotter / "uPlot.min.css", TEMPLATES / "report.css"),
        js=_inline(TEMPLATES / "report.js"),
        plotter=_inline(plotter / "uPlot.iife.min.js"),
        plotter_licence=(plotter / "LICENSE").read_text(encoding="utf-8"),
        explorer=_inline(TEMPLATES / "explorer.js"),
        curves=Markup(data),
    )


def markdown(report: Mapping[str, Any], theory: str, choices: str) -> str:
    """Render the Markdown version, with figures as relative links."""
    return tidy(
        template("report.md.j2", escape=False).render(
            report=report, theory=theory.strip(), choices=choices.strip()
        )
    )


def tidy(text: str) -> str:
    """Text without spaces at the ends of lines and without two empty lines in a row."""
    lines = [line.rstrip() for line in text.splitlines()]
    kept = [line for i, line in enumerate(lines) if line or (i > 0 and lines[i - 1])]
    return "\n".join(kept).strip() + "\n"


def _inline(*files: Path) -> Markup:
    return Markup("\n".join(file.read_text(encoding="utf-8").strip() for file in files))


def template(name: str, *, escape: bool) -> jinja2.Template:
    """A template of this folder; ``md`` is a filter that makes text mean itself in Markdown."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=escape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: dict[str, Callable[..., Any]] = environment.filters
    filters["md"] = escape_markdown
    return environment.get_template(name)


def _key(value: Any) -> str:
    return repr(value) if isinstance(value, int | float) else ""
