"""Stage ``figN``: draw one figure of the paper from the results files; never trains.

Usage: ``python stages/figure.py NAME`` (``fig1`` … ``figS12``, ``figX1`` …). Writes the PNG, the SVG
and the plotted curves; ``figures.style`` of params.yaml is ``paper`` or ``slides``.
"""

from pathlib import Path

import checkout  # noqa: F401

from l2dynamics import paths
from l2dynamics.experiments import scales
from l2dynamics.figures import gallery
from l2dynamics.figures import style as styles
from l2dynamics.pipeline import stage


def main(root: Path) -> None:
    name = stage.argument(gallery.NAMES)
    style = styles.get_style(scales.load_params(root).figures["style"])
    drawing = gallery.draw(name, gallery.load(name, root), style)
    png, *_ = styles.save(drawing, paths.figures(root), name, style)
    stage.say(f"{png.relative_to(root)}: {drawing.caption}")


if __name__ == "__main__":
    stage.short(main)
