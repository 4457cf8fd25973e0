"""ResNets, layer for layer and name for name those of torchvision (v1.5: a bottleneck's stride is at its 3 x 3).

A worker that scores needs nothing else of torchvision, whose import would take a part of its start. Weights of either
fit the other, and the same seed gives the same weights: the tests hold one against the other.

He et al., Deep Residual Learning for Image Recognition, https://arxiv.org/abs/1512.03385; ResNeXt,
https://arxiv.org/abs/1611.05431; Wide ResNet, https://arxiv.org/abs/1605.07146.
"""

from dataclasses import dataclass
from typing import Final, cast

import torch
from torch import Tensor, nn

_STEM, _CLASSES = 64, 1000


@dataclass(frozen=True, slots=True)
class Shape:
    """What a ResNet is made of: blocks a layer, whether they are bottlenecks; groups and width of their 3 x 3."""

    blocks: tuple[int, int, int, int]
    bottleneck: bool = True
    groups: int = 1
    width: int = 64


SHAPES: Final = {
    "resnet18": Shape((2, 2, 2, 2), bottleneck=False),
    "resnet34": Shape((3, 4, 6, 3), bottleneck=False),
    "resnet50": Shape((3, 4, 6, 3)),
    "resnet101": Shape((3, 4, 23, 3)),
    "resnet152": Shape((3, 8, 36, 3)),
    "resnext50_32x4d": Shape((3, 4, 6, 3), groups=32, width=4),
    "resnext101_32x8d": Shape((3, 4, 23, 3), groups=32, width=8),
    "resnext101_64x4d": Shape((3, 4, 23, 3), groups=64, width=4),
    "wide_resnet50_2": Shape((3, 4, 6, 3), width=128),
    "wide_resnet101_2": Shape((3, 4, 23, 3), width=128),
}


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut.

    Args:
        inputs: channels.
        planes: channels of its convolutions.
        stride: of the first convolution, and of the shortcut.
        downsample: the shortcut, where it is no identity.
    """

    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int, downsample: nn.Sequential | None, _shape: Shape) -> None:
        super().__init__()
        self.conv1 = _convolution(inputs, planes, 3, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _convolution(planes, planes, 3)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, features: Tensor) -> Tensor:
        """Return features, float32 (N, planes, rows, columns)."""
        made = self.relu(self.bn1(self.conv1(features)))
        made = self.bn2(self.conv2(made))
        made += features if self.downsample is None else self.downsample(features)
        return cast("Tensor", self.relu(made))


class Bottleneck(nn.Module):
    """A 3 x 3 convolution between two of 1 x 1, and a shortcut.

    Args:
        inputs: channels.
        planes: a fourth of the channels that come out.
        stride: of the 3 x 3 convolution, and of the shortcut.
        downsample: the shortcut, where it is no identity.
        shape: the groups and the width of the 3 x 3 convolution.
    """

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int, downsample: nn.Sequential | None, shape: Shape) -> None:
        super().__init__()
        width, outputs = planes * shape.width // _STEM * shape.groups, planes * self.expansion
        self.conv1 = _convolution(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _convolution(width, width, 3, stride, shape.groups)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _convolution(width, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, features: Tensor) -> Tensor:
        """Return features, float32 (N, 4 * planes, rows, columns)."""
        made = self.relu(self.bn1(self.conv1(features)))
        made = self.relu(self.bn2(self.conv2(made)))
        made = self.bn3(self.conv3(made))
        made += features if self.downsample is None else self.downsample(features)
        return cast("Tensor", self.relu(made))


class ResNet(nn.Module):
    """A ResNet with random weights, for 1,000 classes.

    Args:
        shape: what it is made of.

    Attributes:
        width: of the features that ``fc`` takes.
    """

    width: int
    fc: nn.Module
    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, _STEM, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(_STEM)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        block = Bottleneck if shape.bottleneck else BasicBlock
        inputs = _STEM
        for place, blocks in enumerate(shape.blocks):
            planes = _STEM << place
            setattr(self, f"layer{place + 1}", _layer(block, inputs, planes, blocks, 2 if place else 1, shape))
            inputs = planes * block.expansion
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.width = inputs
        self.fc = nn.Linear(inputs, _CLASSES)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Return what ``fc`` makes of the features, of images, float32 (N, 3, rows, columns)."""
        features = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            features = layer(features)
        return cast("Tensor", self.fc(torch.flatten(self.avgpool(features), 1)))


def _layer(
    block: type[BasicBlock] | type[Bottleneck], inputs: int, planes: int, blocks: int, stride: int, shape: Shape
) -> nn.Sequential:
    outputs, downsample = planes * block.expansion, None
    if stride != 1 or inputs != outputs:
        downsample = nn.Sequential(_convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
    first = block(inputs, planes, stride, downsample, shape)
    return nn.Sequential(first, *(block(outputs, planes, 1, None, shape) for _ in range(1, blocks)))


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, groups=groups, bias=False)
