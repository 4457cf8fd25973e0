"""Opaque names: keyed hashes, by which a manifest tells patients, lesions and images apart without an identifier."""

import hashlib
import hmac
import secrets
from pathlib import Path

from worker.durable_files import write_private
from worker.errors import Code, SetupRefused

KEY_BYTES = 32
_DIGITS = 32


def key_of(path: Path) -> bytes:
    """Return the secret by which patients get their keys; made on first use, and readable by its owner alone.

    Raises:
        SetupRefused: ``dataset_invalid``: it cannot be read or made, or is no such key.
    """
    try:
        if not path.exists():
            write_private(path, secrets.token_bytes(KEY_BYTES).hex().encode() + b"\n")
        key = bytes.fromhex(path.read_text("ascii"))
    except (OSError, ValueError):
        reason = "the file of --key cannot be read or made, or holds no key"
        raise SetupRefused(Code.DATASET_INVALID, reason) from None
    if len(key) < KEY_BYTES:
        raise SetupRefused(Code.DATASET_INVALID, "the file of --key holds no key")
    return key


def opaque_name(key: bytes, *of: object) -> str:
    """Return a name, 32 hexadecimal digits, of what these values say: the same for the same key and values (HMAC)."""
    return hmac.new(key, "\0".join(map(str, of)).encode(), hashlib.sha256).hexdigest()[:_DIGITS]
