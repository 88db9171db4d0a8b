"""Figure S11: AutoL2 against the best constant λ for the other architectures."""  # noqa: N999

from collections.abc import Mapping
from typing import Any

from l2dynamics.experiments import registry
from l2dynamics.figures import autol2_panels, captions
from l2dynamics.figures.canvas import Canvas, number
from l2dynamics.figures.drawing import Drawing
from l2dynamics.figures.style import Style, styled
from l2dynamics.results.tables import Results

RESULTS = ("autol2_fc", "autol2_cnn", "autol2_cnn_bn")


@styled
def draw(results: Mapping[str, Results], style: Style) -> Drawing:
    """Draw test accuracy against epochs, one part per architecture of the one panel of the paper."""
    titles = registry.labels(RESULTS)
    canvas = Canvas.grid(style, 1, 3, letters=list(titles.values()))
    canvas.figure.set_size_inches(3 * style.panel[0], 1.15 * style.panel[1])
    said: list[str] = []
    entries: dict[str, dict[str, Any]] = {}
    dashed = next(filter(None, (autol2_panels.dashed(results[name]) for name in RESULTS)), "")
    dotted = next(filter(None, (autol2_panels.dotted(results[name]) for name in RESULTS)), "")
    for name, title in titles.items():
        best, own = autol2_panels.against_tuned(canvas, title, results[name], title, log="x", lettered=False)
        canvas.axes[title].set_title(f"{title}, tuned λ = {number(best)}")
        entries |= dict(own)
        said.append(f"{title}: best constant λ = {number(best)}; {autol2_panels.gain(results[name])}")
    canvas.shared_legend(list(entries.items()), columns=4)
    return canvas.drawing(
        captions.caption(
            "Figure S11",
            [
                f"Test accuracy of AutoL2 and of the best constant λ against epochs{dashed}{dotted}.",
                f"{'; '.join(said)}.",
                captions.SEEDS,
            ],
            {title: results[name] for name, title in titles.items()},
        )
    )
