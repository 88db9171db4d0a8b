"""Numbers that callers pass: any numeric scalar is taken, and what is none gives one line that names it."""

import math
import operator
from collections.abc import Callable
from typing import Any


def real(name: str, value: Any, valid: Callable[[float], bool], needs: str) -> float:
    """Return a finite number as a Python float.

    Args:
        name: name of the argument, for the message.
        value: a Python, NumPy or JAX scalar; a string that spells a number is none.
        valid: whether the finite number lies in its range.
        needs: what the argument must be, for the message.

    Raises:
        ValueError: ``value`` is no finite number or out of its range.

    Examples:
        >>> import numpy as np
        >>> real("budget", np.int64(200), lambda budget: budget > 0, "it must be positive")
        200.0
        >>> real("budget", "200", lambda budget: budget > 0, "it must be positive")
        Traceback (most recent call last):
        ValueError: budget is '200': it must be positive
    """
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and valid(number)):
        raise ValueError(f"{name} is {_shown(value)}: {needs}")
    return number


def whole(name: str, value: Any, valid: Callable[[int], bool], needs: str) -> int:
    """Return a whole number as a Python int.

    Args:
        name: name of the argument, for the message.
        value: a Python, NumPy or JAX integer; neither a bool nor a float is one.
        valid: whether the number lies in its range.
        needs: what the argument must be, for the message.

    Raises:
        ValueError: ``value`` is no whole number or out of its range.

    Examples:
        >>> import numpy as np
        >>> whole("every", np.int64(10), lambda every: every >= 1, "it must be a whole number of steps")
        10
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not valid(number):
        raise ValueError(f"{name} is {_shown(value)}: {needs}")
    return number


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str | bytes) else " ".join(str(value).split())
