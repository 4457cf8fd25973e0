"""The study's architecture: the US embedding network (Fig. S2) and the classifier with age (Fig. S3)."""

import torch
from torch import Tensor, nn

from worker.errors import Code, ModelRefused
from worker.inference.resnet import SHAPES, ResNet

EMBEDDING_WIDTH = 128
AGE_FEATURES = 16


class UsEmbeddingNetwork(nn.Module):
    """The US embedding network (Fig. S2): a ResNet whose last layer is replaced by two.

    FC1 takes the backbone's features (2048 of a ResNet-50) to 128, the US embedding; FC2 takes the embedding to the
    categories. Nothing stands between the two: the study names no activation and no dropout there.

    Args:
        backbone: a ResNet of torchvision, by name.
        classes: the number of categories.

    Raises:
        ModelRefused: ``card_invalid``, when torchvision has no ResNet of that name.
    """

    def __init__(self, backbone: str, classes: int) -> None:
        super().__init__()
        self.backbone = resnet(backbone)
        width = self.backbone.width
        self.backbone.fc = nn.Identity()
        self.fc1 = nn.Linear(width, EMBEDDING_WIDTH)
        self.fc2 = nn.Linear(EMBEDDING_WIDTH, classes)

    def embed(self, images: Tensor) -> Tensor:
        """Return the US embedding, float32 (N, 128), of images, float32 (N, 3, S, S)."""
        embedding: Tensor = self.fc1(self.backbone(images))
        return embedding

    def forward(self, images: Tensor) -> Tensor:
        """Return the image-only logits, float32 (N, classes), of images, float32 (N, 3, S, S)."""
        logits: Tensor = self.fc2(self.embed(images))
        return logits


class AgeClassifier(nn.Module):
    """The classifier with age (Fig. S3), a multi-layer perceptron.

    FC1 takes the embedding's 128 features to 16; the normalized age makes them 17; ReLU is applied to all 17, the age
    included; FC2 takes the 17 to the categories.

    Args:
        classes: the number of categories.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(EMBEDDING_WIDTH, AGE_FEATURES)
        self.fc2 = nn.Linear(AGE_FEATURES + 1, classes)

    def forward(self, embedding: Tensor, normalized_age: Tensor) -> Tensor:
        """Return logits, float32 (N, classes).

        Args:
            embedding: float32 (N, 128).
            normalized_age: float32 (N,); (age - mean) / standard deviation, both of the model's card.
        """
        features = torch.cat([self.fc1(embedding), normalized_age.unsqueeze(1)], dim=1)
        logits: Tensor = self.fc2(torch.relu(features))
        return logits


class DlrNetwork(nn.Module):
    """DLR_LH or DLR_BM: one architecture serves both.

    Args:
        backbone: a ResNet of torchvision, by name; the study's is ``resnet50``.
        classes: the number of categories.

    Raises:
        ModelRefused: ``card_invalid``, when torchvision has no ResNet of that name.
    """

    def __init__(self, backbone: str = "resnet50", classes: int = 2) -> None:
        super().__init__()
        self.image = UsEmbeddingNetwork(backbone, classes)
        self.age = AgeClassifier(classes)

    def embed(self, images: Tensor) -> Tensor:
        """Return the US embedding, float32 (N, 128), of images, float32 (N, 3, S, S)."""
        return self.image.embed(images)

    def image_logits(self, images: Tensor) -> Tensor:
        """Return the logits without age, float32 (N, classes): what the image network is trained through (Fig. S2)."""
        logits: Tensor = self.image(images)
        return logits

    def forward(self, images: Tensor, normalized_age: Tensor) -> Tensor:
        """Return the logits of the AI scores, float32 (N, classes); softmax gives the scores.

        Args:
            images: float32 (N, 3, S, S), preprocessed as the card says.
            normalized_age: float32 (N,).
        """
        logits: Tensor = self.age(self.embed(images), normalized_age)
        return logits


def resnet(name: str) -> ResNet:
    """Make a ResNet of torchvision, without pretrained weights.

    Raises:
        ModelRefused: ``card_invalid``, when torchvision has no ResNet of that name.
    """
    if name not in SHAPES:
        raise ModelRefused(Code.CARD_INVALID, f"backbone: is not one of {', '.join(SHAPES)}")
    return ResNet(SHAPES[name])
