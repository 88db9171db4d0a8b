"""Where a stage says what it does: warnings on the terminal, everything with its time in ``work/logs/<stage>.log``."""

import logging
import os
import sys
from collections.abc import MutableSequence
from pathlib import Path

from l2dynamics import paths

VERBOSE = "L2DYNAMICS_VERBOSE"
"""Set to 1 it does what ``--verbose`` does, for stages that DVC starts: ``make reproduce VERBOSE=1``."""

FLAG = "--verbose"


class _Spare(logging.FileHandler):
    """A log that cannot be written, as on a full disk, stops nothing and fills no terminal with tracebacks."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Say nothing."""


def log_file(root: Path, stage: str) -> Path:
    """Return the log of a stage."""
    return paths.work(root) / "logs" / f"{stage.replace('/', '-')}.log"


def configure(root: Path, argv: MutableSequence[str]) -> Path:
    """Send the package's log records to the stage's file, and to stderr as far as the user wants to read them.

    Args:
        root: the checkout.
        argv: the script and its arguments, which name the stage; ``--verbose`` is taken out.

    Returns:
        The file; it is appended to.

    Raises:
        OSError: the file cannot be written.
    """
    verbose = FLAG in argv or os.environ.get(VERBOSE, "") not in {"", "0"}
    argv[:] = [word for word in argv if word != FLAG]
    file = log_file(root, "@".join([Path(argv[0]).stem, *argv[1:]]))
    file.parent.mkdir(parents=True, exist_ok=True)
    written = _Spare(file, encoding="utf-8")
    written.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    shown = logging.StreamHandler(sys.stderr)
    shown.setLevel(logging.DEBUG if verbose else logging.WARNING)
    shown.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("l2dynamics")
    for old in logger.handlers[:]:
        logger.removeHandler(old)
        old.close()
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    for handler in (written, shown):
        logger.addHandler(handler)
    return file
