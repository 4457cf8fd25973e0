"""Images on a DICOMweb server (PS3.18): only the instances that a study's lesions are on, as files for its decoders.

What comes is written down as it came, and is read like any other file of a stranger: in a decoder, within its limits.
"""

import re
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from worker.errors import Code, DlrError, LesionRefused, SetupRefused, StudyRefused, Unavailable

if TYPE_CHECKING:
    from dicomweb_client.web import DICOMwebClient
    from requests import Response

CONNECT_S: Final = 5.0
"""How long a server may take to answer the call, in seconds."""

SILENT_S: Final = 30.0
"""How long it may then be silent, in seconds."""

CHUNK_BYTES: Final = 1 << 20

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_SERIES_INSTANCE_UID: Final = "0020000E"
_ANY_SYNTAX: Final = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_GONE: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
_LATER: Final = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
)
"""What a person mends at the server or in the setting, or time does; from 500 on the same."""


@dataclass(frozen=True, slots=True)
class Server:
    """A DICOMweb server.

    Attributes:
        url: of the service, without the ``/studies`` of its resources.
        headers: that sign in.
        ca: PEM of whom to trust; ``None``: whom the system trusts.
    """

    url: str
    headers: Mapping[str, str]
    ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Dicomweb:
    """The DICOMweb servers that jobs may name.

    Attributes:
        servers: by name.
        max_bytes: the largest instance that is fetched.
        timeout_s: the longest time for one instance.
    """

    servers: Mapping[str, Server]
    max_bytes: int
    timeout_s: float

    def fetch(
        self, name: str, study_instance_uid: str, sop_instance_uids: Collection[str], folder: Path
    ) -> tuple[list[str], dict[str, LesionRefused]]:
        """Fetch instances of a study into a folder.

        Args:
            name: of the server.
            study_instance_uid: of the study.
            sop_instance_uids: of the instances.
            folder: an empty one.

        Returns:
            The files' names in the folder; and for each SOP Instance UID that there is no file of, why:
            ``sop_instance_not_found``, ``file_too_large`` or ``dicomweb_failed``.

        Raises:
            StudyRefused: ``dicomweb_server_unknown``.
            SetupRefused: ``setting_invalid``; the extra ``dicomweb`` is not installed.
            Unavailable: ``dicomweb_unavailable``.
        """
        if name not in self.servers:
            raise StudyRefused(Code.DICOMWEB_SERVER_UNKNOWN)
        client = _client(self.servers[name])
        files: list[str] = []
        refused: dict[str, LesionRefused] = {}
        for place, uid in enumerate(sorted(sop_instance_uids)):
            file = folder / f"{place}.dcm"
            try:
                self._fetch(client, study_instance_uid, uid, file)
            except LesionRefused as why:
                file.unlink(missing_ok=True)
                refused[uid] = why
            else:
                files.append(file.name)
        return files, refused

    def _fetch(self, client: "DICOMwebClient", study: str, uid: str, file: Path) -> None:
        from requests import RequestException

        try:
            with file.open("xb") as written:
                for chunk in _instance(client, study, _series_of(client, study, uid), uid, self):
                    written.write(chunk)
        except DlrError:
            raise
        except RequestException as error:
            raise _fault(None if error.response is None else error.response.status_code) from None
        except OSError:
            raise Unavailable(Code.STORAGE_UNAVAILABLE, "an instance could not be written to the TMPDIR") from None
        except Exception:  # noqa: BLE001  whatever an answer that is not DICOMweb does to the library
            raise LesionRefused(Code.DICOMWEB_FAILED) from None


def _client(server: Server) -> "DICOMwebClient":
    try:
        from dicomweb_client.web import DICOMwebClient
        from requests import Session
    except ImportError:
        reason = "a DICOMweb server is asked by the extra: pip install 'dlr-worker[dicomweb]'"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    session = Session()
    session.trust_env = False  # neither a proxy nor a password that the settings do not name
    session.max_redirects = 0
    session.verify = True if server.ca is None else str(server.ca)
    client = DICOMwebClient(
        server.url,
        session,
        headers=dict(server.headers),
        chunk_size=CHUNK_BYTES,
        timeout=(CONNECT_S, SILENT_S),
        permissive_uid=True,
    )
    client.set_http_retry_params(retry=False)
    return client


def _series_of(client: "DICOMwebClient", study: str, uid: str) -> str:
    """Ask in which series an instance is (QIDO-RS, PS3.18, 10.6)."""
    found: list[dict[str, Any]] = client.search_for_instances(study, search_filters={"SOPInstanceUID": uid}, limit=1)
    if not found:
        raise LesionRefused(Code.SOP_INSTANCE_NOT_FOUND)
    (series,) = found[0][_SERIES_INSTANCE_UID]["Value"]
    if not _UID.fullmatch(series):
        raise LesionRefused(Code.DICOMWEB_FAILED)
    return str(series)


def _instance(client: "DICOMwebClient", study: str, series: str, uid: str, limits: Dicomweb) -> Iterator[bytes]:
    """Retrieve an instance as it is stored (WADO-RS, PS3.18, 10.4), within limits.

    The library's own way parses what came, and with it inflates what is deflated, in this process.
    """
    url = f"{client.base_url}/studies/{study}/series/{series}/instances/{uid}"
    response = client._http_get(url, headers={"Accept": _ANY_SYNTAX}, stream=True)  # noqa: SLF001
    with response:
        bounded = _bounded(response, limits)
        if response.headers.get("Content-Type", "").startswith("application/dicom"):
            yield from bounded
            return
        response.iter_content = lambda **_: bounded  # type: ignore[method-assign]
        parts = client._decode_multipart_message(response, stream=True)  # noqa: SLF001
        part = next(parts, None)
        if part is None:
            raise LesionRefused(Code.SOP_INSTANCE_NOT_FOUND)
        yield bytes(part)


def _bounded(response: "Response", limits: Dicomweb) -> Iterator[bytes]:
    deadline = time.monotonic() + limits.timeout_s
    taken = 0
    for chunk in type(response).iter_content(response, CHUNK_BYTES):
        taken += len(chunk)
        if taken > limits.max_bytes:
            raise LesionRefused(Code.FILE_TOO_LARGE, "the instance is larger than DLR_DICOMWEB_MAX_BYTES")
        if time.monotonic() > deadline:
            raise Unavailable(Code.DICOMWEB_UNAVAILABLE, "an instance took longer than DLR_DICOMWEB_TIMEOUT_S")
        yield chunk


def _fault(status: int | None) -> DlrError:
    """Tell an instance that is not there, a server that is away or refuses us for now, and a refusal for good."""
    if status in _GONE:
        return LesionRefused(Code.SOP_INSTANCE_NOT_FOUND)
    if status is None or status in _LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unavailable(Code.DICOMWEB_UNAVAILABLE)
    return LesionRefused(Code.DICOMWEB_FAILED, f"the DICOMweb server refused the request: HTTP {status}")
