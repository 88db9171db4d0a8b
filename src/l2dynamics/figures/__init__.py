"""The figures of the paper, one module each: results in, matplotlib figure out. Nothing here trains.

Every figure module has ``RESULTS``, the names of the results it reads, and ``draw(results, style) -> Drawing``.
"""

import os

# matplotlib refuses to be imported where this names a backend of another environment, as Jupyter's does.
os.environ["MPLBACKEND"] = "agg"
