"""``python -m l2dynamics.tracking ui | sync | record``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from l2dynamics import paths
from l2dynamics.tracking import recorder, server
from l2dynamics.tracking.address import TrackingError
from l2dynamics.tracking.sync import sync


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors are one line on stderr and status 2."""
    parser = argparse.ArgumentParser(prog="python -m l2dynamics.tracking", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    ui = commands.add_parser("ui", help="open MLflow's web interface on the loopback address")
    ui.add_argument("--port", type=int, default=5000)
    complete = commands.add_parser("sync", help="log what is missing from the results files")
    complete.add_argument("names", nargs="*", help="results; all of them, theory and report by default")
    commands.add_parser("record", help="used by the training stages").add_argument("spool", type=Path)
    chosen = parser.parse_args(arguments)
    try:
        root = paths.find_root()
        if chosen.command == "record":
            return recorder.serve(root, chosen.spool)
        if chosen.command == "ui":
            return server.serve(root, chosen.port)
        done = sync(root, chosen.names or None)
    except (TrackingError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"kept {done.kept}, written {done.written}, removed {done.removed} runs")
    for line in done.damaged:
        print(line, file=sys.stderr)
    return 1 if done.damaged else 0


if __name__ == "__main__":
    sys.exit(main())
