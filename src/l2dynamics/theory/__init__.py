"""What Section 4 of the paper predicts, and the computations that check it.

``mode_evolution`` is public; it is imported on first use.
"""

from typing import Any

__all__ = ["mode_evolution"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from l2dynamics.theory import solution

        return getattr(solution, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
