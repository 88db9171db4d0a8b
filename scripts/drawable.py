"""Print the stages of the figures that can be drawn: those whose results the scale in force has."""

import sys

from l2dynamics import paths
from l2dynamics.figures import gallery

if __name__ == "__main__":
    made = {path.stem for path in paths.results(paths.find_root()).glob("*.json")}
    drawable = [gallery.stage(name) for name in gallery.NAMES if gallery.drawable(name, made)]
    if not drawable:
        print("error: the scale in force has no results yet: run `make reproduce`", file=sys.stderr)
        sys.exit(2)
    print(" ".join(drawable))
