"""Figure X2 (ours): AutoL2 in its own units with a schedule of η, against the tuned λ and AutoL2 as printed."""  # noqa: N999

from collections.abc import Mapping

from l2dynamics.analysis import beyond, selection
from l2dynamics.analysis.blocks import Lacking
from l2dynamics.figures import autol2_panels, captions, panels
from l2dynamics.figures.canvas import Canvas, number
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.style import CATEGORIES, TUNED, Style, styled
from l2dynamics.results.tables import Results

OWN, PRINTED = "autol2_own_units", "autol2_wrn_schedule"
RESULTS = (OWN, PRINTED)
COLOR = CATEGORIES[2]


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw accuracy (a) and the coefficient in force (b) against epochs."""
    canvas = Canvas.grid(style, 1, 2)
    canvas.figure.set_size_inches(2.9 * style.panel[0], 1.3 * style.panel[1])
    best, entries = autol2_panels.against_tuned(canvas, "a", results[PRINTED], "test accuracy")
    own = selection.adaptive(results[OWN], "minibatch")
    if len(own):
        curve = panels.mean_curve(own, "test_accuracy", selection.images(results[OWN]))
        canvas.band("a", "AutoL2, own units", curve, color=COLOR)
    canvas.focus("a", autol2_panels.SPAN)
    canvas.setup("b", "λ in force, every seed", panels.EPOCHS, panels.L2, log="y")
    for name, rows, color in (
        ("AutoL2", selection.adaptive(results[PRINTED], "minibatch"), entries[0][1]["color"]),
        ("AutoL2, own units", own, COLOR),
    ):
        for seed, some in rows.groupby("seed", sort=True):
            steps = some[["epoch", "l2"]].rename(columns={"epoch": "x", "l2": "y"})
            canvas.record("b", f"{name}, seed {seed}", steps)
            canvas.axes["b"].plot(steps["x"], steps["y"], color=color, drawstyle="steps-post")
    if best > 0:
        canvas.level("b", "tuned lambda", best, color=TUNED)
    starts = {name: _start(results[name]) for name in RESULTS}
    canvas.shared_legend([*entries, ("AutoL2, own units", {"color": COLOR})], columns=4)
    return canvas.drawing(
        captions.caption(
            "Figure X2",
            [
                "Ours, not in the paper.",
                "(a) Test accuracy against epochs with a learning-rate schedule: the constant λ of the highest "
                f"accuracy, {number(best)}, AutoL2 as printed (λ₀ = {starts[PRINTED]}, pauses in steps) and in its own "
                f"units (λ₀ = {starts[OWN]}, pauses in ∫η dt).",
                f"(b) λ in force, one line per seed; dashed: the best constant λ. {autol2_panels.COARSE}",
                captions.SEEDS,
                *captions.marks(canvas.flags, canvas.cut),
            ],
            {"Own units": results[OWN], "As printed and constant λ": results[PRINTED]},
        )
    )


def _start(results: Results) -> str:
    try:
        return number(beyond.largest_start(results))
    except Lacking:
        return "none"
