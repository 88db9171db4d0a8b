"""Figure S1: the time to training accuracy 1 scales as 1/η and hardly depends on λ; FC (a) and WRN (b)."""  # noqa: N999

from collections.abc import Mapping

from l2dynamics.analysis import selection
from l2dynamics.experiments import registry
from l2dynamics.figures import captions, panels
from l2dynamics.figures.canvas import Canvas
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.style import GUIDE_LINE, Style, styled
from l2dynamics.results.tables import Results

RESULTS = ("fc", "wrn")


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw the steps to training accuracy 1 against η, one curve per λ."""
    canvas = Canvas.grid(style, 1, 2)
    titles = registry.labels(RESULTS)
    said = []
    for panel, (name, title) in zip("ab", titles.items(), strict=True):
        canvas.setup(panel, title, panels.ETA, "steps to training accuracy 1", log="xy")
        summary = selection.runs(results[name])
        steps = summary["train1_epoch"] * results[name].passport["steps_per_epoch"]
        drawn = panels.against_eta(
            canvas,
            panel,
            summary.assign(train1_step=steps).drop(columns=["learned", "bound"]),
            "train1_step",
        )
        reached = int(steps.notna().sum())
        said.append(f"({panel}) {reached} of {len(summary)} runs reached training accuracy 1.")
        entries = panels.l2_entries(summary.loc[steps.notna(), "l2"], marker="o")
        if canvas.guide(panel, drawn, factor=1.6):
            entries.append(("∝ 1/η", dict(GUIDE_LINE)))
        else:
            canvas.empty(panel, "no run reached\ntraining accuracy 1")
        if reached:
            canvas.legend_above(panel, entries)
        else:
            canvas.legend(panel, entries, loc="lower left")
    return canvas.drawing(
        captions.caption(
            "Figure S1",
            [
                "Steps until the training accuracy is 1 against η, one curve per λ; dotted line ∝ 1/η; "
                "dashed black: λ = 0. The legend names the smallest, middle and largest λ drawn.",
                *said,
                "Runs that never reach it are left out.",
                captions.SEEDS,
            ],
            {title: results[name] for name, title in titles.items()},
        )
    )
