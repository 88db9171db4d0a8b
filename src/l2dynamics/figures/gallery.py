"""The figures by name: which there are, what they read, and how one is drawn."""

from collections.abc import Collection, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from l2dynamics.experiments import registry
from l2dynamics.figures.drawing import Drawing

if TYPE_CHECKING:
    from l2dynamics.figures.style import Style

EXTRA: tuple[str, ...] = ()
"""Figures that the paper has not; CONTRIBUTING.md says how to add one."""

NAMES: tuple[str, ...] = (*(figure.name for figure in registry.FIGURES), *EXTRA)
"""All figures, in the order of the paper."""


def stage(name: str) -> str:
    """Return the DVC stage that draws a figure: ``fig@2`` draws ``fig2``."""
    return f"fig@{name.removeprefix('fig')}"


def module(name: str) -> ModuleType:
    """Import the module of one figure.

    Raises:
        ValueError: the paper has no such figure.
    """
    if name not in NAMES:
        raise ValueError(f"there is no figure {name!r}: choose one of {', '.join(NAMES)}")
    return import_module(f"{__package__}.{name}")


def drawable(name: str, made: Collection[str]) -> bool:
    """Whether all results that a figure shows are among those that have been made."""
    return all(set(one.results) <= set(made) for one in registry.FIGURES if one.name == name)


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
