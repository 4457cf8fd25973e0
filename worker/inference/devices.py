"""Which devices this machine has, and which of them a setting means."""

import torch

from worker.errors import Code, SetupRefused

ALL = "all"


def devices_named(wanted: str) -> list[str]:
    """Read several devices' names.

    Args:
        wanted: ``all`` (each CUDA device), or names with commas between them.

    Raises:
        SetupRefused: ``setting_invalid``, when this machine has no such device.
    """
    if wanted != ALL:
        return [str(choose_device(name.strip())) for name in wanted.split(",")]
    count = torch.cuda.device_count()
    if not count:
        raise SetupRefused(
            Code.SETTING_INVALID, "all devices: this machine has no CUDA device, or its driver does not answer"
        )
    return [f"cuda:{number}" for number in range(count)]


def choose_device(wanted: str) -> torch.device:
    """Read a device's name.

    Raises:
        SetupRefused: ``setting_invalid``, when this machine has no such device.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        device = None
    if device == torch.device("cpu"):
        return device
    if device is None or device.type != "cuda" or (device.index or 0) >= torch.cuda.device_count():
        raise SetupRefused(
            Code.SETTING_INVALID, "DLR_DEVICE: this machine has no such device (auto, cpu, cuda, cuda:N)"
        )
    return device


def emulates_bfloat16(device: torch.device) -> bool:
    """Whether a device computes bfloat16 many times slower than float32: an x86 processor without AVX-512."""
    return device.type == "cpu" and torch.backends.cpu.get_cpu_capability() in ("AVX2", "NO AVX")
