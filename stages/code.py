"""Stage ``code``: list the code that every stage runs, for DVC to notice an edit; writes data/code/STAGE.txt."""

from pathlib import Path

import checkout  # noqa: F401

from l2dynamics import paths
from l2dynamics.pipeline import dag, stage


def main(root: Path) -> None:
    folder = paths.code(root)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = dag.listings(root)
    for old in folder.glob("*.txt"):
        if old.stem not in wanted:
            old.unlink()
    for name, listing in wanted.items():
        (folder / f"{name}.txt").write_text(listing, encoding="utf-8")
    stage.say(f"{folder.relative_to(root)}: the code of {len(wanted)} stages")


if __name__ == "__main__":
    stage.short(main)
