"""What destinations are made of: documents of a result, TLS, and secrets in files."""

import ssl
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from worker.errors import Code, SetupRefused
from worker.reporting.documents import Camera, Document, Kind, documents_of
from worker.reporting.result import StudyResult
from worker.sending.destination import Sources

LOCAL: Final = ("127.0.0.1", "localhost", "[::1]")
"""Hosts to which identifiers may go without TLS."""

_SHORTEST_SECRET: Final = 16


@dataclass(frozen=True, slots=True)
class DocumentMaker:
    """Makes documents of results.

    Attributes:
        sources: the studies' images.
        camera: what pictures are made with; ``None``: there are none.
    """

    sources: Sources
    camera: Camera | None = None

    def __call__(self, result: StudyResult, kinds: Collection[Kind]) -> list[Document]:
        """Make documents, the kinds in their order; of a study of which nothing was scored there are no pictures."""
        drawn = self.camera is not None and any(lesion.scores for lesion in result.lesions)
        with self.sources(result) as source:
            return [
                document
                for kind in kinds
                if kind is not Kind.SC or drawn
                for document in documents_of(kind, result, source, self.camera)
            ]


def tls_of(
    names: tuple[str, str, str], ca: Path | None, certificate: Path | None, key: Path | None
) -> ssl.SSLContext | None:
    """Return how a server is verified and what it is shown; ``None``: without TLS.

    Raises:
        SetupRefused: ``setting_invalid``, with what was to name the files: ``names``, in their order.
    """
    if ca is None:
        if (certificate, key) != (None, None):
            raise SetupRefused(Code.SETTING_INVALID, f"{names[1]} and {names[2]} need {names[0]}")
        return None
    try:
        context = ssl.create_default_context(cafile=ca)
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except OSError:
        reason = f"{names[0]}, {names[1]} or {names[2]} cannot be read, or do not match"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    return context


def checked_ca(name: str, ca: Path | None) -> Path | None:
    """Return a CA bundle that can be read; ``None`` stands for the system's."""
    try:
        ssl.create_default_context(cafile=ca)
    except OSError:
        raise SetupRefused(Code.SETTING_INVALID, f"{name} cannot be read, or has no PEM certificate") from None
    return ca


def checked_secret(name: str, secret: str | None) -> str | None:
    """Return a secret that is long enough."""
    if secret is not None and len(secret) < _SHORTEST_SECRET:
        raise SetupRefused(Code.SETTING_INVALID, f"{name} has fewer than {_SHORTEST_SECRET} characters")
    return secret


def secret_in(name: str, file: Path | None) -> str | None:
    """Return what a file of a secret holds, without the end of its line; ``None`` where no file is named.

    Raises:
        SetupRefused: ``setting_invalid``; it cannot be read, or is empty.
    """
    if file is None:
        return None
    try:
        secret = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise SetupRefused(Code.SETTING_INVALID, f"{name}: the file cannot be read") from None
    if not secret:
        raise SetupRefused(Code.SETTING_INVALID, f"{name}: the file is empty")
    return secret
