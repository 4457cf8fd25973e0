"""A model's weights as a network: safetensors files alone, since a pickle can run code."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from worker.errors import Code, ModelRefused
from worker.inference.model_card import ModelCard
from worker.inference.network import DlrNetwork
from worker.inference.weights_file import read_weights, sha256_of

_SHOWN = 3
_FILLS = (Tensor.normal_, Tensor.uniform_)


def load_networks(card: ModelCard, weights_paths: Sequence[Path], device: torch.device) -> tuple[DlrNetwork, ...]:
    """Load a model's networks, ready to score: one, or the members of an ensemble.

    Args:
        card: says what they have to be, and the SHA-256 of the weights of each.
        weights_paths: for each, in the card's order, a safetensors file with each tensor of the network's
            ``state_dict()``, under the same name.
        device: where they go.

    Returns:
        The networks in evaluation mode, float32, without gradients.

    Raises:
        ModelRefused: ``weights_missing``; ``weights_hash_mismatch``; ``weights_shape_mismatch``, whose reason lists
            what differs.
    """
    if len(weights_paths) != len(card.weights_digests):
        reason = f"{card.name} {card.version} takes {len(card.weights_digests)} files of weights"
        raise ModelRefused(Code.WEIGHTS_MISSING, f"{reason}, and {len(weights_paths)} are given")
    contents = (read_weights(card, path, place) for place, path in enumerate(weights_paths))
    return tuple(network_of(card, content).to(device) for content in contents)


def load_network(card: ModelCard, weights_path: Path, device: torch.device) -> DlrNetwork:
    """As `load_networks`, of a model of one network."""
    [network] = load_networks(card, [weights_path], device)
    return network


def network_of(card: ModelCard, content: bytes) -> DlrNetwork:
    """Make a network of a model, on the CPU and ready to score, of what `read_weights` returns.

    Raises:
        ModelRefused: ``weights_missing``, where it is not safetensors; ``weights_shape_mismatch``.
    """
    with _Unfilled():
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
    return network.requires_grad_(False).eval()


class _Unfilled(TorchFunctionMode):
    """Makes networks whose numbers are whatever was in memory: others take their place.

    On the device ``meta`` they would have none either, but for that PyTorch imports SymPy: a second and more.
    """

    def __torch_function__(
        self, func: Callable[..., Any], _types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func in _FILLS or getattr(func, "__module__", "") == "torch.nn.init":
            return given["tensor"] if "tensor" in given else args[0]
        return func(*args, **given)


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
    broken = [name for name in both if not _is_finite(weights[name])]
    return [
        *_listed("missing", missing),
        *_listed("unexpected", unexpected),
        *_listed("other shape", shapes),
        *_listed("not finite", broken),
    ]


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or not tensor.numel():
        return bool(torch.isfinite(tensor).all())
    # In one pass and without a mask: what is no number is the least and the greatest.
    return bool(torch.isfinite(torch.stack(torch.aminmax(tensor))).all())


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _listed(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"{what}: {', '.join(names[:_SHOWN])}{more}"]
