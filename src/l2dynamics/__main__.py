"""``python -m l2dynamics``: the same as the command ``l2dynamics``."""

import sys

from l2dynamics.cli import main

if __name__ == "__main__":
    sys.exit(main())
