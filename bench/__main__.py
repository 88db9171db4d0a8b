"""Print the table of measurements as Markdown: ``python -m bench [fc conv overhead memory executors precision]``."""

import sys
from importlib import import_module

from bench import measure

PARTS = ("fc", "conv", "overhead", "memory", "executors", "precision")


def main() -> None:
    """Run what the command line asks for."""
    chosen = sys.argv[1:] or PARTS
    if unknown := [name for name in chosen if name not in PARTS]:
        print(f"error: {unknown[0]} is unknown, choose from {', '.join(PARTS)}", file=sys.stderr)
        sys.exit(2)
    about = measure.machine()
    rows = [row for name in chosen for row in import_module(f"bench.{name}").rows()]
    print(f"\n{about}\n\n{measure.table(rows)}")


if __name__ == "__main__":
    main()
