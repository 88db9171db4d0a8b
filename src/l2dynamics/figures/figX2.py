"""Figure X2 (ours): AutoL2 in its own units with a schedule of η, against the tuned λ and AutoL2 as printed."""  # noqa: N999

from collections.abc import Mapping

from l2dynamics.analysis import beyond, selection
from l2dynamics.analysis.blocks import Lacking
from l2dynamics.experiments.registry import title
from l2dynamics.figures import autol2_panels, captions, panels
from l2dynamics.figures.canvas import Canvas, number
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.style import AUTO, AUTO_OWN, TUNED, Style, styled
from l2dynamics.results.tables import Results

RESULTS = ("autol2_wrn_schedule", "autol2_wrn_cosine", "autol2_cnn_bn_schedule", "autol2_cnn_bn_cosine")


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw accuracy (above) and the coefficient in force (below) against epochs, a column for each setup."""
    canvas = Canvas.grid(style, 2, 4)
    said, hidden, entries = [], list[str](), list[autol2_panels.Entry]()
    for name, above, below in zip(RESULTS, "abcd", "efgh", strict=True):
        own = results[name]
        best, entries = autol2_panels.against_tuned(canvas, above, own, title(name))
        rows = selection.adaptive(own, "own")
        if len(rows):
            curve = panels.mean_curve(rows, "test_accuracy", selection.images(own))
            canvas.band(above, "AutoL2, own units", curve, color=AUTO_OWN)
        canvas.focus(above, autol2_panels.SPAN)
        printed = selection.adaptive(own, "minibatch").groupby("epoch")["test_accuracy"].mean().max()
        if printed < canvas.axes[above].get_ylim()[0]:
            hidden.append(f"({above}, at most {number(printed)})")
        canvas.setup(below, "λ in force", panels.EPOCHS, panels.L2, log="y")
        for rule, some, color in (
            ("AutoL2", selection.adaptive(own, "minibatch"), AUTO),
            ("AutoL2, own units", rows, AUTO_OWN),
        ):
            for seed, run in some.groupby("seed", sort=True):
                steps = run[["epoch", "l2"]].rename(columns={"epoch": "x", "l2": "y"})
                canvas.record(below, f"{rule}, seed {seed}", steps)
                canvas.axes[below].plot(steps["x"], steps["y"], color=color, drawstyle="steps-post")
        if best > 0:
            canvas.level(below, "tuned lambda", best, color=TUNED)
        starts = " and ".join(_start(own, rule) for rule in ("own", "minibatch"))
        said.append(f"{title(name)}: tuned λ = {number(best)}, λ₀ = {starts}")
    canvas.shared_legend([*entries, ("AutoL2, own units", {"color": AUTO_OWN})], columns=4)
    return canvas.drawing(
        captions.caption(
            "Figure X2",
            [
                "Ours, not in the paper.",
                "(a–d) Test accuracy against epochs with a schedule of η, steps or a cosine: the constant λ of the "
                "highest accuracy at the end, AutoL2 as printed (λ₀ = 0.1, pauses in steps) and in its own units (λ₀ "
                "where t* is a twentieth of the run, pauses in ∫η dt).",
                f"AutoL2 as printed never comes up to the axis of {', '.join(hidden)}." if hidden else "",
                f"(e–h) λ in force, one line per seed; dashed: the best constant λ. {autol2_panels.COARSE}",
                f"λ₀ in its own units and as printed: {'; '.join(said)}.",
                captions.SEEDS,
                *captions.marks(canvas.flags, canvas.cut),
            ],
            {title(name): results[name] for name in RESULTS},
        )
    )


def _start(results: Results, rule: str) -> str:
    try:
        return number(beyond.largest_start(results, rule))
    except Lacking:
        return "none"
