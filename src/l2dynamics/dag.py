"""dvc.yaml as data: what each stage depends on, compared with what its code imports."""

import shlex
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from l2dynamics.closure import closure


def _yaml() -> YAML:
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 4096
    return yaml


def read(root: Path) -> Any:
    """The content of dvc.yaml, with its comments."""
    return _yaml().load(root / "dvc.yaml")


def write(root: Path, dag: Any) -> None:
    """Replace dvc.yaml."""
    _yaml().dump(dag, root / "dvc.yaml")


def code_dependencies(root: Path, stage: str, command: str) -> list[str]:
    """Files of this repository that a stage executes: its script, what it imports and, for a figure, its module.

    Args:
        root: the checkout.
        stage: name of the stage.
        command: its ``cmd``, ``python stages/….py …``.

    Returns:
        Paths relative to the checkout, the script first.
    """
    script = root / shlex.split(command)[1]
    files = set(closure(script))
    module = root / "src" / "l2dynamics" / "figures" / f"{stage}.py"
    if script.name == "figure.py":
        files |= set(closure(module))
    rest = sorted(file.relative_to(root.resolve()).as_posix() for file in files if file != script.resolve())
    return [script.relative_to(root).as_posix(), *rest]
