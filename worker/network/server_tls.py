"""The TLS of whoever listens, as settings have it."""

import ssl
from pathlib import Path

from worker.errors import Code, SetupRefused
from worker.network.addresses import can_be_read, is_loopback, listed


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
            raise _refused(f"{prefix}_CERTIFICATE and {prefix}_KEY are set together, and {prefix}_CA with them")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
        if ca is not None:
            context.load_verify_locations(ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError:
        raise _refused(f"{prefix}_CERTIFICATE, {prefix}_KEY or {prefix}_CA cannot be read, or do not match") from None
    return context


def require_https(
    prefix: str, address: str, certificate: Path | None, key: Path | None, *, behind_proxy: str, sent: str
) -> None:
    """Refuse HTTP without TLS where other machines reach it, and TLS that is half set up.

    Args:
        prefix: of the settings, such as ``DLR_WEB``.
        address: on which it listens.
        certificate: ours (PEM); ``key`` is its private key.
        behind_proxy: addresses of proxies that terminate TLS, separated by commas; may be empty.
        sent: what would be sent in the clear, such as ``passwords``.

    Raises:
        SetupRefused: ``setting_invalid``.
    """
    if (certificate is None) != (key is None):
        raise _refused(f"{prefix}_CERTIFICATE and {prefix}_KEY go together: set both, or none")
    for variable, file in ((f"{prefix}_CERTIFICATE", certificate), (f"{prefix}_KEY", key)):
        if file is not None and not can_be_read(file):
            raise _refused(f"{variable} {file} is not a readable file")
    if certificate is not None and key is not None:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
        except OSError:
            reason = (
                f"{prefix}_CERTIFICATE {certificate} and {prefix}_KEY {key} are not a certificate and its key, as PEM"
            )
            raise _refused(reason) from None
    if certificate is None and not listed(behind_proxy) and not is_loopback(address):
        raise _refused(
            f"{prefix}_ADDRESS {address} is reached from other machines, and {sent} would be sent in the clear: set "
            f"{prefix}_CERTIFICATE and {prefix}_KEY, or {prefix}_BEHIND_PROXY for a proxy with TLS"
        )


def _refused(reason: str) -> SetupRefused:
    return SetupRefused(Code.SETTING_INVALID, reason)
