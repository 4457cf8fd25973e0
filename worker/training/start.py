"""What a network is before its training: random, ImageNet's weights, or a file: ours, or a ResNet of torchvision's."""

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn
from torchvision import models

from worker.errors import Code, SetupRefused
from worker.inference.model_card import BACKBONES
from worker.inference.network import DlrNetwork, resnet
from worker.inference.resnet import BasicBlock, Bottleneck
from worker.inference.weights import differences
from worker.training.config import IMAGENET, RANDOM, STARTS, TrainingConfig

_IMAGE, _HEAD, _BACKBONE, _AGE = "image.", "image.fc", "image.backbone.", "age."
_TORCHVISION = "conv1.weight"
"""The first tensor of torchvision's ResNets, by the name that it has nowhere in ours."""

_CLASSIFIER = "fc."
_PICKLED = (".pth", ".pt")
_WRAPPERS = "state_dict", "model_state_dict", "model"
"""What checkpoints call the state dict that they hold beside an optimizer's."""

_BATCHES = "num_batches_tracked"
_PARALLEL = "module."
"""What `DataParallel` and `DistributedDataParallel` put before each name."""


def new_network(config: TrainingConfig) -> DlrNetwork:
    """Make a network to train; what is drawn at random follows from the seed.

    Raises:
        SetupRefused: ``weights_unavailable``: torchvision's weights cannot be fetched, or the file is not there or
            does not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        network = DlrNetwork(config.backbone)
    if config.init == RANDOM:
        _start_as_identity(network)
    elif config.init == IMAGENET:
        _take(network, _imagenet(config.backbone), config.backbone)
    else:
        _take(network, _of_file(Path(config.init)), config.backbone)
    return network


def require_fitting(config: TrainingConfig) -> None:
    """Make sure that a file to start from is one, and fits the backbone. Nothing is looked at for other starts.

    Raises:
        SetupRefused: ``weights_unavailable``.
    """
    if config.init in STARTS:
        return
    new_network(config)
    if config.stages == "age" and not any(name.startswith(_HEAD) for name in _of_file(Path(config.init))):
        reason = "--init: stages = age needs an image network that was trained through its FC2, not a backbone alone"
        raise SetupRefused(Code.WEIGHTS_UNAVAILABLE, reason)


def init_digest(config: TrainingConfig) -> str:
    """Say what a training starts from: a word, or the SHA-256 of the file.

    Raises:
        SetupRefused: ``weights_unavailable``; the file is not there or cannot be read.
    """
    return config.init if config.init in STARTS else hashlib.sha256(_read(Path(config.init))).hexdigest()


def _start_as_identity(network: nn.Module) -> None:
    """Start the last BatchNorm of each block at zero, so that each block starts as the identity."""
    for module in network.modules():
        if isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)
        elif isinstance(module, BasicBlock):
            nn.init.zeros_(module.bn2.weight)


def _imagenet(backbone: str) -> dict[str, Tensor]:
    weights: Any = models.get_model_weights(backbone).DEFAULT
    try:
        # Its pickle is read as tensors alone, and its name holds the hash that it has to have.
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except OSError:
        reason = (
            f"torchvision's weights of {backbone} cannot be downloaded from {_host(weights.url)}: put "
            f"{_name(weights.url)} into TORCH_HOME/hub/checkpoints, or start from --init random or from a file"
        )
        raise SetupRefused(Code.WEIGHTS_UNAVAILABLE, reason) from None
    except RuntimeError:
        reason = f"torchvision's weights of {backbone} have a wrong hash: remove the file and try again"
        raise SetupRefused(Code.WEIGHTS_UNAVAILABLE, reason) from None
    network = resnet(backbone)
    network.load_state_dict(state)  # also the older files, which count no batches
    return {f"{_BACKBONE}{name}": tensor for name, tensor in network.state_dict().items() if not name.startswith("fc.")}


def _host(url: str) -> str:
    return url.split("/")[2]


def _name(url: str) -> str:
    return url.rpartition("/")[2]


def _of_file(path: Path) -> dict[str, Tensor]:
    content = _read(path)
    try:
        weights = load(content) if path.suffix not in _PICKLED else _pickled(content)
    except (SafetensorError, KeyError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError):
        reason = (
            "--init: the file is neither safetensors nor, ending in .pth or .pt, a state dict of tensors alone: write "
            "one by torch.save(model.state_dict(), FILE)"
        )
        raise SetupRefused(Code.WEIGHTS_UNAVAILABLE, reason) from None
    weights = {name.removeprefix(_PARALLEL): _as_ours(name, tensor) for name, tensor in weights.items()}
    return _renamed(weights) if _TORCHVISION in weights else weights


def _as_ours(name: str, tensor: Tensor) -> Tensor:
    """Take half precision as float32; whoever halves all tensors halves the counts of batches, too."""
    if name.endswith(_BATCHES):
        return tensor.long()
    return tensor.float() if tensor.is_floating_point() else tensor


def _pickled(content: bytes) -> dict[str, Tensor]:
    """Read a state dict, or the one in a checkpoint, as tensors alone: no code in the file is run."""
    weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if isinstance(weights, dict):
        weights = next((weights[name] for name in _WRAPPERS if isinstance(weights.get(name), dict)), weights)
    if not isinstance(weights, dict) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise ValueError
    return {str(name): tensor for name, tensor in weights.items()}


def _renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give torchvision's tensors our names; its classifier, of 1,000 everyday things, is left out."""
    counts = {  # older files count no batches
        name.replace("running_mean", _BATCHES): torch.tensor(0) for name in weights if name.endswith("running_mean")
    }
    named = (counts | weights).items()
    return {f"{_BACKBONE}{name}": tensor for name, tensor in named if not name.startswith(_CLASSIFIER)}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        reason = "--init: imagenet, random, or a readable file of weights (.safetensors, .pth)"
        raise SetupRefused(Code.WEIGHTS_UNAVAILABLE, reason) from None


def _take(network: DlrNetwork, weights: dict[str, Tensor], backbone: str) -> None:
    """Take a whole network's weights, its image part's alone, or its backbone's; the rest stays as it is drawn."""
    own = network.state_dict()
    whole, image = (any(name.startswith(prefix) for name in weights) for prefix in (_AGE, _HEAD))
    covered = "" if whole else _IMAGE if image else _BACKBONE
    found = differences({name: tensor for name, tensor in own.items() if name.startswith(covered)}, weights)
    if found:
        reason = _misfit(weights, backbone, own) or f"the weights do not fit: {'; '.join(found)}"
        raise SetupRefused(Code.WEIGHTS_UNAVAILABLE, f"--init: {reason}")
    network.load_state_dict(own | weights)


def _misfit(weights: dict[str, Tensor], backbone: str, own: dict[str, Tensor]) -> str | None:
    """Say why nearly all of a file does not fit; ``None`` where it is a few tensors."""
    other = _backbone_of(weights)
    if other not in (None, backbone):
        return f"the weights are of another backbone: give --backbone {other}, or a file of a {backbone}"
    if own.keys() & weights.keys():
        return None
    return (
        "no tensor in it has a name of ours (image.backbone.conv1.weight) or of torchvision's ResNets (conv1.weight): "
        "rename them"
    )


def _backbone_of(weights: dict[str, Tensor]) -> str | None:
    """Say which ResNet has tensors of these names and shapes; ``None`` where none has."""
    given = {name: tensor.shape for name, tensor in weights.items() if name.startswith(_BACKBONE)}
    for backbone in BACKBONES:
        with torch.device("meta"):
            own = DlrNetwork(backbone).state_dict()
        if given == {name: tensor.shape for name, tensor in own.items() if name.startswith(_BACKBONE)}:
            return backbone
    return None
