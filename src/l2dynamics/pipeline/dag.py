"""The DAG as data: dvc.yaml, and the code that each of its stages runs."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from l2dynamics import figures
from l2dynamics.results.source_code import PACKAGE, closure, fingerprint

WITHOUT_NUMBERS = ("running", "pipeline", "tracking")
"""Rooms of which no output depends: an edit there runs no stage again. What MLflow and the report show depends on
``tracking``."""
_SHOW_TRACKING = ("report", "track")


def read(root: Path) -> Any:
    """The content of dvc.yaml."""
    return YAML(typ="safe").load(root / "dvc.yaml")


def listings(root: Path) -> dict[str, str]:
    """The code that the outputs of each kind of stage depend on, :data:`WITHOUT_NUMBERS` left out.

    It is the script, all that it imports and, for a figure, the module of the figure.

    Args:
        root: the checkout.

    Returns:
        By the name of the stage (``sweep``, ``fig2``, …) one line for every file: the beginning of its fingerprint,
        its path.

    Raises:
        ValueError: another copy of the package than that of the checkout would run.
    """
    if not PACKAGE.is_relative_to(root.resolve()):
        raise ValueError(
            f"python imports l2dynamics from {PACKAGE}, not from this checkout: run `make setup` here, or set "
            "PYTHONPATH=src"
        )
    found: dict[str, str] = {}
    for script in sorted((root / "stages").glob("*.py")):
        if script.stem == "figure":
            modules = {name: root / "src" / "l2dynamics" / "figures" / f"{name}.py" for name in figures.NAMES}
            found |= {name: _listing(root, script, module) for name, module in modules.items()}
        elif script.stem != "code":
            found[script.stem] = _listing(root, script)
    return found


def _listing(root: Path, script: Path, *modules: Path) -> str:
    rooms = [room for room in WITHOUT_NUMBERS if room != "tracking" or script.stem not in _SHOW_TRACKING]
    files = {file for start in (script, *modules) for file in closure(start)}
    listed = sorted(file for file in files if not any(file.is_relative_to(PACKAGE / room) for room in rooms))
    return "".join(
        f"{fingerprint(file)[:16]}  {file.relative_to(root.resolve()).as_posix()}\n" for file in listed
    )
