"""The second stage (Fig. S3): the classifier with age, on the embeddings of an image network that stays as it is."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import AdamW

from worker.inference.network import DlrNetwork
from worker.training.ages import learns_on
from worker.training.augment import normalized_ages
from worker.training.cohort import Lesions
from worker.training.config import TrainingConfig
from worker.training.fit import class_weights, embed, weighted_loss
from worker.training.processes import Team


def fit_age(network: DlrNetwork, lesions: Lesions, config: TrainingConfig, team: Team) -> float:
    """Train the classifier with age, in place; it takes seconds, so an interrupted one starts anew.

    Args:
        network: its image network is trained.
        lesions: of all splits; the configuration says which are learned from.
        config: how.
        team: this process alone.

    Returns:
        The last loss.
    """
    chosen = lesions.of(*learns_on(config))
    embeddings = embed(network, chosen, config, team)
    return learn_age(network, embeddings, normalized_ages(chosen, config), chosen.labels, config)


def learn_age(
    network: DlrNetwork, embeddings: Tensor, normalized_ages: Tensor, labels: NDArray[np.bool_], config: TrainingConfig
) -> float:
    """Train the classifier with age, in place, where the embeddings are known.

    Args:
        network: its image network is trained.
        embeddings: of lesions, by that, float32 (N, 128), on the network's device.
        normalized_ages: float32 (N,).
        labels: bool (N,).
        config: how.

    Returns:
        The last loss.
    """
    ages = normalized_ages.to(embeddings.device)
    classes = torch.from_numpy(labels).long().to(embeddings.device)
    weights = class_weights(labels, config).to(embeddings.device)
    if config.age.start == "image":
        start_from_the_image(network)
    optimizer = AdamW(
        [
            {"params": network.age.fc1.parameters(), "lr": config.age.fc1_learning_rate},
            {"params": network.age.fc2.parameters(), "lr": config.age.learning_rate},
        ],
        weight_decay=config.age.weight_decay,
    )
    loss = torch.zeros(())
    for _ in range(config.age.steps):
        optimizer.zero_grad()
        loss = weighted_loss(network.age(embeddings, ages), classes, weights)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return float(loss.detach())


def start_from_the_image(network: DlrNetwork) -> None:
    """Make the classifier with age say what the image network's FC2 says, whatever the age.

    Two of the 16 features become how far FC2 is on either side of its border: ReLU keeps one or the other, and together
    they are the whole. What else FC1 has stays as it was drawn, and counts nothing at first.
    """
    fc2, age = network.image.fc2, network.age
    with torch.no_grad():
        towards: Tensor = fc2.weight[1] - fc2.weight[0]
        offset: Tensor = fc2.bias[1] - fc2.bias[0]
        for feature, sign in ((0, 1.0), (1, -1.0)):
            age.fc1.weight[feature] = sign * towards
            age.fc1.bias[feature] = sign * offset
        age.fc2.weight.zero_()
        age.fc2.bias.zero_()
        age.fc2.weight[:, :2] = torch.tensor([[-0.5, 0.5], [0.5, -0.5]])
