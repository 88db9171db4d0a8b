"""Figure S9: AutoL2 against several constant λ: test accuracy (a), training loss and AutoL2's λ (b)."""  # noqa: N999

from collections.abc import Mapping

from l2dynamics.figures import autol2_panels, captions
from l2dynamics.figures.canvas import Canvas
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.style import Style, styled
from l2dynamics.results.tables import Results

RESULTS = ("autol2_wrn",)


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw accuracy and loss against epochs."""
    return draw_setup(results["autol2_wrn"], style, "Figure S9", "WRN of Figure 1c, constant learning rate.")


def draw_setup(results: Results, style: Style, name: str, setting: str) -> Drawing:
    """Draw the two panels of this format."""
    canvas = Canvas.grid(style, 1, 2)
    canvas.figure.set_size_inches(2.9 * style.panel[0], 1.45 * style.panel[1])
    entries = autol2_panels.against_all(canvas, "a", results, "test_accuracy", "test accuracy", smaller=True)
    canvas.focus("a", autol2_panels.SPAN)
    autol2_panels.against_all(canvas, "b", results, "train_loss", "training loss and λ", log="y")
    canvas.shared_legend(entries, columns=4)
    autol2_panels.schedule(canvas, "b", results)
    return canvas.drawing(
        captions.caption(
            name,
            [
                setting,
                "(a) Test accuracy of AutoL2 and of constant λ against epochs"
                f"{autol2_panels.dashed(results)}{autol2_panels.dotted(results)}; "
                f"{autol2_panels.gain(results)}.",
                "(b) Training loss without the L2 term, same colours; dash-dotted, right axis: λ of the AutoL2 "
                f"runs, one line per seed. {autol2_panels.COARSE}",
                captions.SEEDS,
                *captions.marks(canvas.flags, canvas.cut),
            ],
            {"Runs": results},
        )
    )
