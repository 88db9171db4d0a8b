"""Stage ``figN``: draw one figure of the paper from the results files.

Usage: ``python stages/figure.py NAME`` (``fig1`` … ``fig5``, ``figS1`` … ``figS12``). Writes the PNG, the SVG
and the plotted curves; ``figures.style`` of params.yaml is ``paper`` or ``slides``. Never trains.
"""

import sys
from pathlib import Path

from ruamel.yaml import YAML

from l2dynamics import figures, paths
from l2dynamics.figures import style as styles


def chosen_style(root: Path) -> styles.Style:
    """Return the style that params.yaml asks for; without the key it is ``paper``."""
    params = YAML(typ="safe", pure=True).load(root / "params.yaml") or {}
    return styles.get_style((params.get("figures") or {}).get("style", "paper"))


def main() -> None:
    if len(sys.argv) != 2:
        raise ValueError(f"usage: python stages/figure.py NAME, NAME one of {', '.join(figures.NAMES)}")
    name = sys.argv[1]
    root = paths.find_root()
    style = chosen_style(root)
    drawing = figures.draw(name, figures.load(name, root), style)
    png, *_ = styles.save(drawing, paths.figures(root), name, style)
    print(f"{png.relative_to(root)}: {drawing.caption}")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
