"""Rewrite the code dependencies in dvc.yaml from the imports of every stage (tests/test_dag.py checks them).

Usage: ``python scripts/update_dvc_deps.py``. Data dependencies, comments and order of the stages stay as they are.
"""

from pathlib import Path

from l2dynamics import paths
from l2dynamics.dag import code_dependencies, read, write


def main() -> None:
    """Update every stage."""
    root: Path = paths.find_root()
    dag = read(root)
    for name, stage in dag["stages"].items():
        body = stage.get("do", stage)
        data = [dep for dep in body["deps"] if not str(dep).endswith(".py") or "${" in str(dep)]
        body["deps"][:] = [*code_dependencies(root, name, body["cmd"]), *data]
    write(root, dag)


if __name__ == "__main__":
    main()
