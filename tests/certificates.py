"""Certificates for tests of TLS."""

from pathlib import Path

import trustme


def write_certificate(folder: Path, name: str = "ours") -> trustme.CA:
    """Write a certificate for this machine (``ours.pem``) and its key (``ours.key``); return who signed it."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
    certificate.private_key_pem.write_to_path(str(folder / f"{name}.key"))
    return authority
