"""Stage ``report``: write ``reports/index.html`` and ``reports/README.md`` from files alone."""

from pathlib import Path

import checkout  # noqa: F401

from l2dynamics.claims import absent
from l2dynamics.pipeline import stage
from l2dynamics.report import document, theory_section


def main(root: Path) -> None:
    theory = theory_section.section(absent.load(["theory"], root)["theory"])
    for path in document.write(root, theory):
        stage.say(f"{path.relative_to(root)}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    stage.short(main)
