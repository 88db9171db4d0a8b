"""Networks by the name of their architecture, and their initial parameters."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from l2dynamics.models.cnn import Cnn
from l2dynamics.models.fc import FullyConnected
from l2dynamics.models.layout import Layout
from l2dynamics.models.resnet import ResNet
from l2dynamics.models.wide_resnet import WideResNet

Params = Any


def build(
    kind: str,
    *,
    classes: int,
    bn_group: int | None = None,
    dtype: Any = None,
    layout: Layout = "NHWC",
    **architecture: Any,
) -> nn.Module:
    """Make the module ``kind`` (fc, cnn, wrn, resnet) with the fields of its model section.

    Args:
        kind: which architecture.
        classes: number of logits.
        bn_group: examples that share batch-norm statistics in training.
        dtype: type of the computation; parameters are float32.
        layout: inside the network; neither parameters nor inputs nor logits depend on it.
        **architecture: the other fields of the section.
    """
    if kind == "fc":
        return FullyConnected(**architecture, classes=classes, dtype=dtype, layout=layout)
    convolutional: dict[str, Any] = {
        "classes": classes,
        "bn_group": bn_group,
        "dtype": dtype,
        "layout": layout,
    }
    if kind == "cnn":
        return Cnn(hidden=architecture.pop("dense"), **architecture, **convolutional)
    if kind == "wrn":
        return WideResNet(**architecture, **convolutional)
    if kind == "resnet":
        return ResNet(**architecture, **convolutional)
    raise ValueError(f"model.kind: {kind!r} is unknown, choose fc, cnn, wrn or resnet")


def scale_invariant(module: nn.Module, params: Params) -> Params:
    """Which parameters batch norm makes the logits independent of the scale of, a bool for every leaf.

    Those are kernels of convolutions; where a sum of convolutions is normalised, the scale is one for all of them.
    """

    def one(path: tuple[Any, ...], leaf: jax.Array) -> bool:
        del leaf
        layer, name = path[0].key, path[-1].key
        return name == "kernel" and bool(module.normalised(layer))

    return jax.tree_util.tree_map_with_path(one, params)


def initialize(
    module: nn.Module,
    key: jax.Array,
    shape: tuple[int, ...],
    *,
    sigma_w: jax.Array | float,
    sigma_b: jax.Array | float = 0.0,
) -> Params:
    """Parameters with kernels ``W ~ N(0, σw² / N_in)`` and biases ``b ~ N(0, σb²)``; batch norms at 1 and 0.

    Args:
        module: the network.
        key: PRNG key.
        shape: shape of one input batch, ``[batch, height, width, channels]``.
        sigma_w: weight gain; may be traced.
        sigma_b: bias scale; may be traced.

    Returns:
        The parameter pytree; float32 leaves.
    """
    init_key, bias_key = jax.random.split(key)
    params = module.init(init_key, jnp.zeros(shape, jnp.float32))["params"]
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    scaled = []
    for index, (path, leaf) in enumerate(leaves):
        name = path[-1].key
        if name == "kernel":
            scaled.append(leaf * jnp.asarray(sigma_w, leaf.dtype))
        elif name == "bias":
            noise = jax.random.normal(jax.random.fold_in(bias_key, index), leaf.shape, leaf.dtype)
            scaled.append(jnp.asarray(sigma_b, leaf.dtype) * noise)
        else:
            scaled.append(leaf)
    return jax.tree_util.tree_unflatten(structure, scaled)
