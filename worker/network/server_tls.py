"""The TLS of whoever listens and may ask for client certificates, as settings have it."""

import ssl
from pathlib import Path

from worker.errors import Code, SetupRefused


def server_tls(prefix: str, certificate: Path | None, key: Path | None, ca: Path | None) -> ssl.SSLContext | None:
    """Return the context of a listener; ``None``: it speaks without TLS.

    Args:
        prefix: of the three settings, such as ``DLR_RECEIVE``.
        certificate: ours (PEM); ``key`` is its private key.
        ca: verifies the certificates that clients then have to show; ``None``: they need none.

    Raises:
        SetupRefused: ``setting_invalid``; the settings do not go together, or a file cannot be read.
    """
    if certificate is None or key is None:
        if (certificate, key, ca) != (None, None, None):
            reason = f"{prefix}_CERTIFICATE and {prefix}_KEY are set together, and {prefix}_CA with them"
            raise SetupRefused(Code.SETTING_INVALID, reason)
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
        if ca is not None:
            context.load_verify_locations(ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError:
        reason = f"{prefix}_CERTIFICATE, {prefix}_KEY or {prefix}_CA cannot be read, or do not match"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    return context
