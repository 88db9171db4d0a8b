"""Imported first by every stage: it runs the package of its own checkout, whatever else is installed.

DVC executes queued experiments in copies of the checkout, with the environment of the original one.
"""

import os
import sys
from pathlib import Path

# Most products of claims, bands and theory are small: to share one between threads takes longer than to compute it, and
# many times longer where other work has the cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

_SRC = Path(__file__).resolve().parents[1] / "src"
if _SRC.is_dir():
    sys.path.insert(0, str(_SRC))
    # For worker processes, which do not all inherit sys.path.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_SRC), os.environ.get("PYTHONPATH")]))
