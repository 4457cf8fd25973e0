"""What settings say of addresses and files, as whoever listens needs it."""

from ipaddress import ip_address
from pathlib import Path


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def is_everywhere(address: str) -> bool:
    """Whether an address is that of every interface."""
    try:
        return ip_address(address).is_unspecified
    except ValueError:
        return False


def listed(text: str) -> list[str]:
    """Split a setting that has commas."""
    return [part for one in text.split(",") if (part := one.strip())]


def can_be_read(file: Path) -> bool:
    """Whether this process may read a file."""
    try:
        with file.open("rb"):
            return True
    except OSError:
        return False
