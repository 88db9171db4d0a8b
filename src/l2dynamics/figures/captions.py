"""Captions from passports: which data, model and scale a figure shows, and how many seeds."""

from collections.abc import Collection, Container, Iterable, Mapping
from typing import Any

from l2dynamics.analysis import bands
from l2dynamics.experiments.registry import DATASETS, MODELS
from l2dynamics.results.tables import Results

SEEDS = (
    "Points and lines are means over seeds; bars and bands are "
    f"{100 * bands.LEVEL:.0f} % intervals over seeds and test images (of losses, "
    "training accuracies and times to fit: over seeds)."
)
ELSEWHERE = f"Elsewhere {SEEDS[0].lower()}{SEEDS[1:]}"
"""The same where some panels have bars or bands of another meaning."""
MARKS: Mapping[str, str] = {
    "bound": "Open triangles: t* of the mean curve lies in the second half of the run, which bounds it from below; "
    "such points enter no fit.",
    "edge": "Open squares: the best λ is at an end of the grid.",
    "failed": "Crosses: most seeds diverged or never learned (test accuracy below twice chance); t* there is that of "
    "the others.",
}
"""What the marks of :meth:`l2dynamics.figures.canvas.Canvas.curve` say, by the flag of the point."""
ZERO = "λ = 0 is the dashed black line."


def marks(flags: Container[str], cut: Collection[str] = ()) -> list[str]:
    """Return a sentence on each mark that a figure has, and one on the panels whose axis is cut.

    Args:
        flags: see :attr:`l2dynamics.figures.canvas.Canvas.flags`.
        cut: see :attr:`l2dynamics.figures.canvas.Canvas.cut`.
    """
    said = [said for flag, said in MARKS.items() if flag in flags]
    panels = ", ".join(f"({panel})" for panel in sorted(cut))
    return [*said, f"Lower values lie below the axis of {panels}."] if panels else said


def caption(title: str, sentences: Iterable[str], shown: Mapping[str, Results]) -> str:
    """Return a caption: title, what the panels show, and a sentence on each results table.

    Args:
        title: e.g. ``Figure 2``.
        sentences: what is shown, one sentence each; empty ones are left out.
        shown: label (e.g. ``a–c``) → the results shown there.
    """
    said = [s for s in sentences if s]
    return " ".join([f"{title}.", *said, *(f"{label}: {describe(r)}." for label, r in shown.items())])


def describe(results: Results) -> str:
    """Return one sentence on a results table: model, data and its size, optimiser, scale, seeds, runs."""
    passport = results.passport
    seeds = sorted(passport["seeds"])
    listed = f"{len(seeds)} seed" + ("s" if len(seeds) != 1 else "")
    n = _seeds_per_point(results)
    per_point = f"n = {n[0]}" if n[0] == n[1] else f"n = {n[0]}–{n[1]}"
    runs = f"{passport['runs']} runs"
    if passport.get("diverged"):
        runs += f", {passport['diverged']} of them diverged"
    return "; ".join(
        [
            f"{model(passport)} on {data(passport)}",
            f"{optimiser(passport)}, {_rates(results)}",
            f"scale {passport['scale']}",
            f"{listed} ({per_point} per point)",
            runs,
        ]
    )


def model(passport: Mapping[str, Any]) -> str:
    """Return the architecture with its sizes, e.g. ``FC (depth 3, width 256)``."""
    sizes = dict(passport.get("setup", {}).get("model", {}))
    kind = str(sizes.pop("kind", passport.get("name", "")))
    shown = ", ".join(
        f"{key.replace('_', ' ')} {_plain(value)}" for key, value in sizes.items() if value is not None
    )
    return f"{MODELS.get(kind, kind)} ({shown})" if shown else MODELS.get(kind, kind)


def data(passport: Mapping[str, Any]) -> str:
    """Return the data set, e.g. ``MNIST (512 training and 2,000 test images, 28×28, source sample)``."""
    source = passport["data"]
    size = source.get("image_size")
    side = size[0] if isinstance(size, list | tuple) else size
    parts = [f"{source['train']:,} training and {source['test']:,} test images"]
    if side:
        parts.append(f"{side}×{side}")
    parts.append(f"source {source['source']}")
    return f"{DATASETS.get(source['name'], source['name'])} ({', '.join(parts)})"


def optimiser(passport: Mapping[str, Any]) -> str:
    """Return loss, optimiser and augmentation in words."""
    setup = passport.get("setup", {})
    momentum = setup.get("momentum") or 0.0
    name = {"adam": "Adam, L2 in the gradient", "adamw": "AdamW"}.get(setup.get("optimizer", "sgd"), "SGD")
    parts = [name if not momentum else f"{name} with momentum {momentum:g}"]
    if setup.get("batch"):
        parts.append(f"batch {setup['batch']}")
    if setup.get("loss") == "mse":
        parts.append("MSE loss")
    if (acts := setup.get("l2_on", "all")) != "all":
        parts.append(f"L2 on {'scale-invariant' if acts == 'scale_invariant' else 'the other'} weights")
    if setup.get("augment"):
        parts.append("augmentation")
    if setup.get("schedule") not in (None, False, "constant", "none"):
        cosine = isinstance(setup["schedule"], Mapping) and setup["schedule"].get("shape") == "cosine"
        parts.append("cosine schedule" if cosine else "learning-rate schedule")
    return ", ".join(parts)


def _rates(results: Results) -> str:
    etas = sorted(results.table["eta"].unique())
    return f"η = {etas[0]:g}" if len(etas) == 1 else f"η = {etas[0]:g} to {etas[-1]:g}"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return "-".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _seeds_per_point(results: Results) -> tuple[int, int]:
    table = results.table.drop_duplicates("run")
    # In autol2 results l2 changes within a run, so that a run's first row identifies its point.
    point = [c for c in ("setup", "group", "eta", "l2", "sigma_w", "budget") if c in table]
    counts = table.groupby(point)["seed"].nunique()
    return int(counts.min()), int(counts.max())
