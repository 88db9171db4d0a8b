"""Training dynamics of deep networks with L2 regularization (Lewkowycz & Gur-Ari, 2020).

The names below are the public interface. They are imported on first use, so that ``import l2dynamics``
costs nothing and never imports jax before :func:`l2dynamics.training.numerics.configure` had its say.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "AutoL2": "autol2",
    "NoPeakError": "suggestion.answer",
    "auto_l2": "autol2_optax",
    "current_l2": "autol2_optax",
    "mean_measurements": "autol2_optax",
    "measure_c": "prediction",
    "predict_l2": "prediction",
    "suggest_l2": "suggestion.suggest",
    "t_star": "prediction",
}

__all__ = [
    "AutoL2",
    "NoPeakError",
    "__version__",
    "auto_l2",
    "current_l2",
    "mean_measurements",
    "measure_c",
    "predict_l2",
    "suggest_l2",
    "t_star",
]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
