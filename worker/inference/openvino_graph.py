"""A pair of models as an OpenVINO graph, built from its layers one by one.

OpenVINO has converters too. The one for PyTorch takes seconds, and reports each use over the Internet; what a ResNet is
made of fits on a page, and every engine compares its scores with PyTorch's before it starts.
"""

import numpy as np
from numpy.typing import NDArray
from openvino import Model, Node, Type
from openvino import opset15 as ops
from torch import Tensor, nn

from worker.inference.model_pair import ModelPair, ScoringNetwork
from worker.inference.network import DlrNetwork
from worker.inference.resnet import BasicBlock, Bottleneck

_ANY = -1


def graph_of(pair: ModelPair) -> Model:
    """Build the graph.

    Args:
        pair: on the CPU, its BatchNorm folded.

    Returns:
        A graph that takes what ``ModelPair.inputs`` gives, for any number of lesions, and returns what
        ``ModelPair.forward`` does.
    """
    ages = ops.parameter([_ANY, 2], Type.f32)
    crops = [ops.parameter([_ANY, *shape], Type.u8) for shape in (pair.shapes[:1] if pair.one_crop else pair.shapes)]
    logits = [
        _scored(network, crop, ops.gather(ages, np.array([place]), np.array(1)))
        for place, (network, crop) in enumerate(zip((pair.lh, pair.bm), (crops[0], crops[-1]), strict=True))
    ]
    together = ops.concat([ops.unsqueeze(each, np.array(1)) for each in logits], axis=1)
    return Model([together], [ages, *crops])


def _scored(network: ScoringNetwork, pixels: Node, age: Node) -> Node:
    images = ops.divide(ops.convert(pixels, "f32"), np.float32(255))
    images = ops.divide(ops.subtract(images, _array(network.mean)), _array(network.std))
    return _logits(network.network, images, age)


def _logits(network: DlrNetwork, images: Node, age: Node) -> Node:
    backbone = network.image.backbone
    features = ops.relu(_convolution(images, backbone.conv1))
    features = _pooled(features, backbone.maxpool)
    for layer in (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4):
        for block in layer:
            features = _block(features, block)
    features = ops.reduce_mean(features, np.array([2, 3]))
    embedding = _linear(features, network.image.fc1)
    with_age = ops.concat([_linear(embedding, network.age.fc1), age], axis=1)
    return _linear(ops.relu(with_age), network.age.fc2)


def _block(features: Node, block: nn.Module) -> Node:
    if not isinstance(block, BasicBlock | Bottleneck):
        raise TypeError("a ResNet is made of basic blocks or of bottlenecks")
    made = _convolution(ops.relu(_convolution(features, block.conv1)), block.conv2)
    if isinstance(block, Bottleneck):
        made = _convolution(ops.relu(made), block.conv3)
    shortcut = features if block.downsample is None else _convolution(features, block.downsample[0])
    return ops.relu(ops.add(made, shortcut))


def _convolution(features: Node, layer: nn.Module) -> Node:
    if not isinstance(layer, nn.Conv2d) or layer.bias is None or isinstance(layer.padding, str):
        raise TypeError("a convolution has to hold its BatchNorm")
    weights, padding = _array(layer.weight), list(layer.padding)
    shape = (list(layer.stride), padding, padding, list(layer.dilation))
    if layer.groups == 1:
        made = ops.convolution(features, _constant(weights), *shape)
    else:
        outputs, *rest = weights.shape
        grouped = weights.reshape(layer.groups, outputs // layer.groups, *rest)
        made = ops.group_convolution(features, _constant(grouped), *shape)
    return ops.add(made, _array(layer.bias).reshape(1, -1, 1, 1))


def _pooled(features: Node, layer: nn.MaxPool2d) -> Node:
    sizes = layer.kernel_size, layer.stride, layer.padding
    side, stride, padding = ([size, size] if isinstance(size, int) else list(size) for size in sizes)
    return ops.max_pool(features, stride, [1, 1], padding, padding, side).output(0)


def _linear(features: Node, layer: nn.Linear) -> Node:
    made = ops.matmul(features, _constant(_array(layer.weight)), transpose_a=False, transpose_b=True)
    return ops.add(made, _array(layer.bias).reshape(1, -1))


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(tensor.detach().numpy())


def _constant(array: NDArray[np.float32]) -> Node:
    """Copy an array into the graph. An operation that is handed one makes a list of Python's numbers of it first."""
    return ops.constant(array)
