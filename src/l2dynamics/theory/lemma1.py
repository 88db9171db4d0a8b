"""The Lemma-1 table: degree of homogeneity of the paper's architectures, measured."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from l2dynamics.models import networks
from l2dynamics.theory import homogeneity

# (label, kind, architecture, claimed degree k, input shape). k counts the layers of weights; a batch norm divides out
# whatever the layers before it scale with, and its scale and offset start again at degree 1.
NETWORKS: tuple[tuple[str, str, dict[str, Any], int, tuple[int, ...]], ...] = (
    ("FC, 2 hidden layers", "fc", {"depth": 2, "width": 8}, 3, (4, 5, 5, 1)),
    ("FC, 3 hidden layers", "fc", {"depth": 3, "width": 8}, 4, (4, 5, 5, 1)),
    (
        "CNN",
        "cnn",
        {"channels": 3, "dense": 5, "batch_norm": False, "pool_window": 2, "pool_stride": 2},
        6,
        (4, 16, 16, 3),
    ),
    (
        "CNN with batch norm",
        "cnn",
        {"channels": 3, "dense": 5, "batch_norm": True, "pool_window": 2, "pool_stride": 2},
        4,
        (8, 16, 16, 3),
    ),
    ("WRN-10-2 (every first shortcut is a convolution)", "wrn", {"depth": 10, "widen": 2}, 2, (8, 8, 8, 3)),
    ("WRN-10-1 (first shortcut is the identity)", "wrn", {"depth": 10, "widen": 1}, 2, (8, 8, 8, 3)),
)


def measure(
    kind: str, architecture: dict[str, Any], k: float, shape: tuple[int, ...], seed: int, *, biases: bool
) -> list[homogeneity.Homogeneity]:
    """Check Lemma 1 on one random network and random inputs.

    Args:
        kind: architecture of :func:`l2dynamics.models.networks.build`.
        architecture: its fields.
        k: claimed degree.
        shape: of the inputs.
        seed: of weights, inputs and directions.
        biases: count the biases (at their initial value 0) among the parameters; else they are no parameters.

    Returns:
        One entry per m = 0, 1, 2; in float64 without batch norm, which computes in float32.
    """
    module = networks.build(kind, classes=2, **architecture)
    double = kind == "fc" or not architecture.get("batch_norm", True)
    # NumPy's normal numbers: JAX would compile for seconds to draw them once.
    random = np.random.default_rng(seed)
    initialize = partial(networks.initialize, module, shape=shape, sigma_w=2**0.5)
    params = jax.tree_util.tree_map_with_path(
        partial(_drawn, random), jax.eval_shape(initialize, jax.random.key(seed))
    )
    x = random.standard_normal(shape)
    with jax.enable_x64(double):
        dtype = np.float64 if double else np.float32
        typed = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, dtype)), params)
        images = jnp.asarray(x.astype(dtype))
        weights, fixed = (typed, {}) if biases else homogeneity.split(typed)

        def function(theta: Any) -> jax.Array:
            return module.apply({"params": homogeneity.merge(theta, fixed)}, images)

        return homogeneity.euler(function, weights, k, seed + 1)


def _drawn(random: np.random.Generator, path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> Any:
    """Initial values of one leaf: kernels N(0, 2 / N_in), biases and offsets 0, scales 1."""
    name = path[-1].key
    if name == "kernel":
        return random.standard_normal(leaf.shape) * (2 / np.prod(leaf.shape[:-1])) ** 0.5
    return np.full(leaf.shape, 1.0 if name == "scale" else 0.0)


def table(seed: int, *, convolutional: bool) -> dict[str, Any]:
    """Measure every network without biases, and those without batch norm also with them.

    Args:
        seed: of everything random.
        convolutional: measure the convolutional networks too.

    Returns:
        ``{"table": [{network, k, biases, degree: [m = 0, 1, 2], residual: […]}]}``.
    """
    rows = []
    for label, kind, architecture, k, shape in NETWORKS:
        if kind != "fc" and not convolutional:
            continue
        plain = not architecture.get("batch_norm", kind == "wrn")
        for biases in (False, True) if plain else (False,):
            found = measure(kind, architecture, k, shape, seed, biases=biases)
            rows.append(
                {
                    "network": label,
                    "k": k,
                    "biases": biases,
                    "degree": [one.degree for one in found],
                    "residual": [one.residual for one in found],
                }
            )
    return {"table": rows}
