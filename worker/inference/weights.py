"""A model's weights: safetensors files alone, since a pickle can run code."""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from worker.errors import Code, ModelRefused
from worker.inference.model_card import ModelCard
from worker.inference.network import DlrNetwork

_SHOWN = 3


def load_network(card: ModelCard, weights_path: Path, device: torch.device) -> DlrNetwork:
    """Load a model's network, ready to score.

    Args:
        card: says what the network has to be, and the SHA-256 of its weights.
        weights_path: a safetensors file with each tensor of the network's ``state_dict()``, under the same name.
        device: where the network goes.

    Returns:
        The network in evaluation mode, float32, without gradients.

    Raises:
        ModelRefused: ``weights_missing``; ``weights_hash_mismatch``; ``weights_shape_mismatch``, whose reason lists
            what differs.
    """
    content = _read(weights_path)
    digest = hashlib.sha256(content).hexdigest()
    if digest != card.weights_sha256:
        raise ModelRefused(
            Code.WEIGHTS_HASH_MISMATCH,
            f"{card.name} {card.version}: SHA-256 {card.weights_sha256} on the card, {digest} in the file",
        )
    with torch.device("meta"):
        network = DlrNetwork(card.backbone, len(card.classes))
    whole = card.stage == "age"
    try:
        weights = load(content)
    except (SafetensorError, KeyError, ValueError):
        raise ModelRefused(
            Code.WEIGHTS_MISSING, f"{card.name} {card.version}: the weights are not a readable safetensors file"
        ) from None
    found = differences(tensors_of(network, whole=whole), weights)
    if found:
        reason = f"{card.name} {card.version}, {card.backbone}: {'; '.join(found)}"
        raise ModelRefused(Code.WEIGHTS_SHAPE_MISMATCH, reason)
    network.load_state_dict(weights if whole else weights | _no_age(network), assign=True)
    return network.to(device).requires_grad_(False).eval()


def tensors_of(network: DlrNetwork, *, whole: bool) -> dict[str, Tensor]:
    """Return a network's tensors by name: all, or those of its image network (``image.*``)."""
    return {name: tensor for name, tensor in network.state_dict().items() if whole or name.startswith("image.")}


def _no_age(network: DlrNetwork) -> dict[str, Tensor]:
    """Return a classifier with age that says nothing: its scores are no numbers, so they are refused."""
    return {f"age.{name}": torch.full(tensor.shape, torch.nan) for name, tensor in network.age.state_dict().items()}


def save_network(network: DlrNetwork, weights_path: Path) -> str:
    """Write a network's weights as a safetensors file.

    Returns:
        The file's SHA-256, for the card: lower-case hexadecimal.
    """
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}, weights_path)
    return sha256_of(weights_path)


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in lower-case hexadecimal.

    Raises:
        ModelRefused: ``weights_missing``, when the file is not there or cannot be read.
    """
    return hashlib.sha256(_read(path)).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise ModelRefused(Code.WEIGHTS_MISSING) from None


def differences(network: dict[str, Tensor], weights: dict[str, Tensor]) -> list[str]:
    """Say how weights differ from what a network needs; empty when they fit."""
    missing = [name for name in network if name not in weights]
    unexpected = [name for name in weights if name not in network]
    both = [name for name in network if name in weights]
    shapes = [
        f"{name} is {_kind(network[name])} in the network, {_kind(weights[name])} in the file"
        for name in both
        if _kind(network[name]) != _kind(weights[name])
    ]
    broken = [name for name in both if not torch.isfinite(weights[name]).all()]
    return [
        *_listed("missing", missing),
        *_listed("unexpected", unexpected),
        *_listed("other shape", shapes),
        *_listed("not finite", broken),
    ]


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _listed(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"{what}: {', '.join(names[:_SHOWN])}{more}"]
