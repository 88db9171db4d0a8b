"""Functions that XLA's CPU compiler does not merge with what is around them."""

from collections.abc import Callable
from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata


def apart(function: Callable[..., Any], static: tuple[int, ...] = ()) -> Callable[..., Any]:
    """Compile a function, and its derivatives, as functions of their own: what goes in and out is stored once.

    Else XLA computes the input of a convolution, an activation or a batch norm, again for every row of the window, and
    reads the pixels that it normalises in the order in which the transposed ones are written.

    Args:
        function: of arrays.
        static: positions of the arguments that are no arrays.
    """
    compiled = jax.jit(function, static_argnums=static)

    def call(*args: Any) -> Any:
        with set_xla_metadata(inlineable="false"):
            return compiled(*args)

    return call
