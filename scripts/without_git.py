"""Let DVC work in a copy of the sources that has no .git, such as a ZIP: it refuses one unless it is told so.

Usage: ``python scripts/without_git.py``, run in the checkout; with a .git in or above it nothing is done.
"""

import subprocess
import sys
from pathlib import Path

OPTION = "no_scm"


def main() -> int:
    """Set ``core.no_scm`` in .dvc/config.local, and say so, where there is no git repository."""
    here = Path.cwd()
    settings = here / ".dvc" / "config.local"
    if any((folder / ".git").exists() for folder in (here, *here.parents)):
        return 0
    if settings.is_file() and OPTION in settings.read_text(encoding="utf-8"):
        return 0
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "config", "--local", f"core.{OPTION}", "true"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        print(
            f"error: DVC cannot be set up for a folder without git ({done.stderr.strip()}): take a clone",
            file=sys.stderr,
        )
        return done.returncode
    print(
        f"No git repository here: DVC works without one (core.{OPTION} in .dvc/config.local), "
        "`dvc exp` does not, and results name no commit."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
