"""A pair of models as an OpenVINO graph, built from its weights by their names, one layer after another. No torch here.

OpenVINO has converters too. The one for PyTorch takes seconds, and reports each use over the Internet; what a ResNet is
made of fits on a page, and every engine compares its scores with PyTorch's before it starts.
"""

from collections.abc import Mapping, Sequence
from itertools import count, takewhile
from typing import Final

import numpy as np
from numpy.typing import NDArray
from openvino import Model, Node, Type
from openvino import opset15 as ops

from worker.inference.model_card import ModelCard
from worker.inference.runner import Inputs

Weights = Mapping[str, NDArray[np.float32]]
"""Of one network, by the names of its file."""

_ANY = -1
_LAYERS = 4
_EPSILON: Final = np.float32(1e-5)
"""Of each BatchNorm: what PyTorch has, unless it is told otherwise."""


def graph_of(cards: Sequence[ModelCard], weights: Sequence[Sequence[Weights]]) -> Model:
    """Build the graph.

    Args:
        cards: of DLR_LH and DLR_BM.
        weights: of the networks of each.

    Returns:
        A graph that takes what `Inputs` makes, for any number of lesions, and returns what
        `worker.inference.model_pair.ModelPair` does.
    """
    ages = ops.parameter([_ANY, 2], Type.f32)
    crops = [ops.parameter([_ANY, *shape], Type.u8) for shape in Inputs.of(cards).crops]
    logits = [
        one
        for place, (card, networks, crop) in enumerate(zip(cards, weights, (crops[0], crops[-1]), strict=True))
        for one in _scored(card, networks, crop, ops.gather(ages, np.array([place]), np.array(1)))
    ]
    together = ops.concat([ops.unsqueeze(each, np.array(1)) for each in logits], axis=1)
    return Model([together], [ages, *crops])


def _scored(card: ModelCard, networks: Sequence[Weights], pixels: Node, age: Node) -> list[Node]:
    images = ops.divide(ops.convert(pixels, "f32"), np.float32(255))
    mean, std = (np.asarray(each, np.float32).reshape(1, -1, 1, 1) for each in (card.pixel_mean, card.pixel_std))
    images = ops.divide(ops.subtract(images, mean), std)
    views = [images]
    if card.test_time_flip:
        views.append(ops.gather(images, np.arange(card.input_size)[::-1].copy(), np.array(3)))
    return [_logits(weights, view, age) for view in views for weights in networks]


def _logits(weights: Weights, images: Node, age: Node) -> Node:
    embedding = _linear(_features(images, weights), weights, "image.fc1")
    with_age = ops.concat([_linear(embedding, weights, "age.fc1"), age], axis=1)
    return _linear(ops.relu(with_age), weights, "age.fc2")


def _features(images: Node, weights: Weights) -> Node:
    features = ops.relu(_convolution(images, weights, "conv1", "bn1", 2))
    features = ops.max_pool(features, [2, 2], [1, 1], [1, 1], [1, 1], [3, 3]).output(0)
    for layer in range(1, _LAYERS + 1):
        blocks = (f"layer{layer}.{block}" for block in count())
        for place, block in enumerate(takewhile(lambda block: _has(weights, f"{block}.conv1"), blocks)):
            features = _block(features, weights, block, 2 if layer > 1 and not place else 1)
    return ops.reduce_mean(features, np.array([2, 3]))


def _block(features: Node, weights: Weights, block: str, stride: int) -> Node:
    """Two convolutions of 3 x 3, or one between two of 1 x 1, and a shortcut; the first of 3 x 3 has the stride."""
    bottleneck = _has(weights, f"{block}.conv3")
    made = _convolution(features, weights, f"{block}.conv1", f"{block}.bn1", 1 if bottleneck else stride)
    made = _convolution(ops.relu(made), weights, f"{block}.conv2", f"{block}.bn2", stride if bottleneck else 1)
    if bottleneck:
        made = _convolution(ops.relu(made), weights, f"{block}.conv3", f"{block}.bn3")
    shortcut = features
    if _has(weights, f"{block}.downsample.0"):
        shortcut = _convolution(features, weights, f"{block}.downsample.0", f"{block}.downsample.1", stride)
    return ops.relu(ops.add(made, shortcut))


def _has(weights: Weights, layer: str) -> bool:
    return f"image.backbone.{layer}.weight" in weights


def _convolution(features: Node, weights: Weights, layer: str, normalization: str, stride: int = 1) -> Node:
    """Convolve, the BatchNorm that follows folded in."""
    kernel = weights[f"image.backbone.{layer}.weight"]
    gain, shift, mean, variance = (
        weights[f"image.backbone.{normalization}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gain / np.sqrt(variance + _EPSILON)
    folded = kernel * scale.reshape(-1, 1, 1, 1)
    strides, padding = [stride, stride], [kernel.shape[2] // 2] * 2
    outlet = features.output(0) if isinstance(features, Node) else features
    groups = outlet.get_partial_shape()[1].get_length() // kernel.shape[1]
    if groups == 1:
        made = ops.convolution(features, _constant(folded), strides, padding, padding, [1, 1])
    else:
        outputs, *rest = folded.shape
        grouped = folded.reshape(groups, outputs // groups, *rest)
        made = ops.group_convolution(features, _constant(grouped), strides, padding, padding, [1, 1])
    return ops.add(made, (shift - mean * scale).reshape(1, -1, 1, 1))


def _linear(features: Node, weights: Weights, layer: str) -> Node:
    made = ops.matmul(features, _constant(weights[f"{layer}.weight"]), transpose_a=False, transpose_b=True)
    return ops.add(made, weights[f"{layer}.bias"].reshape(1, -1))


def _constant(array: NDArray[np.float32]) -> Node:
    """Put an array into the graph. An operation that is handed one makes a list of Python's numbers of it first."""
    return ops.constant(array)
