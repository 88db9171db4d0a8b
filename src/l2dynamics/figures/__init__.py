"""The figures of the paper, one module each: results in, matplotlib figure out. Nothing here trains.

Every figure module has ``RESULTS``, the names of the results it reads, and ``draw(results, style) -> Drawing``.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from l2dynamics.experiments import registry

# matplotlib refuses to be imported where this names a backend of another environment, as Jupyter's does.
os.environ["MPLBACKEND"] = "agg"

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from l2dynamics.figures.style import Style

EXTRA: tuple[str, ...] = ()
"""Figures that the paper has not; CONTRIBUTING.md says how to add one."""

NAMES: tuple[str, ...] = (*(figure.name for figure in registry.FIGURES), *EXTRA)
"""All figures, in the order of the paper."""


def stage(name: str) -> str:
    """Return the DVC stage that draws a figure: ``fig@2`` draws ``fig2``."""
    return f"fig@{name.removeprefix('fig')}"


@dataclass(frozen=True)
class Drawing:
    """A drawn figure.

    Attributes:
        figure: the matplotlib figure, every panel of the paper's figure in it.
        caption: what is shown, with scale, data, model and number of seeds; computed from the passports.
        data: every plotted curve in long form, columns ``panel, curve, x, y, low, high, n, flag``; see
            :func:`l2dynamics.figures.canvas.points` for the flags.
    """

    figure: "Figure"
    caption: str
    data: "pd.DataFrame"


def module(name: str) -> ModuleType:
    """Import the module of one figure.

    Raises:
        ValueError: the paper has no such figure.
    """
    if name not in NAMES:
        raise ValueError(f"there is no figure {name!r}: choose one of {', '.join(NAMES)}")
    return import_module(f"{__name__}.{name}")


def load(name: str, root: Path | None = None) -> Mapping[str, Any]:
    """Read the results that a figure shows.

    Args:
        name: e.g. ``fig2`` or ``figS5``.
        root: the checkout; None finds it from the working directory.

    Raises:
        ValueError: there is no such figure, or a results file is missing or damaged.
    """
    from l2dynamics.results import tables

    return {result: tables.load(result, root) for result in module(name).RESULTS}


def draw(name: str, results: Mapping[str, Any], style: "Style") -> Drawing:
    """Draw one figure from its results.

    Raises:
        ValueError: there is no such figure, or its results cannot be drawn.
    """
    drawing: Drawing = module(name).draw(results, style)
    return drawing
