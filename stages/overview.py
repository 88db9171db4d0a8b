"""Stage ``overview``: write ``reports/README.md`` and ``reports/index.html``, every claim at every scale."""

from pathlib import Path

import checkout  # noqa: F401

from l2dynamics.pipeline import stage
from l2dynamics.report import overview


def main(root: Path) -> None:
    for path in overview.write(root):
        stage.say(f"{path.relative_to(root)}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    stage.short(main)
