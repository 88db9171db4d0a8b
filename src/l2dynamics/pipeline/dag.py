"""The DAG as data: dvc.yaml, and the code that each of its stages runs."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from l2dynamics.figures import gallery
from l2dynamics.results.source_code import PACKAGE, listing


def read(root: Path) -> Any:
    """The content of dvc.yaml."""
    return YAML(typ="safe").load(root / "dvc.yaml")


def listings(root: Path) -> dict[str, str]:
    """The code that the outputs of each kind of stage depend on, see :func:`l2dynamics.results.source_code.listing`.

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
            modules = {name: root / "src" / "l2dynamics" / "figures" / f"{name}.py" for name in gallery.NAMES}
            found |= {name: listing(root, script, module) for name, module in modules.items()}
        elif script.stem not in ("code", "checkout"):
            found[script.stem] = listing(root, script)
    return found
