"""Images on a DICOMweb server (PS3.18): only the instances that a study's lesions are on, as files for its decoders.

What comes is written down as it came, and is read like any other file of a stranger: in a decoder, within its limits.

Why a job names a server and no address: docs/decisions/0024-a-job-names-a-dicomweb-server.md.
"""

import json
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from mmap import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from worker.errors import Code, DlrError, LesionRefused, SetupRefused, StudyRefused, Unavailable
from worker.image_access import Dicomweb, Server
from worker.imaging.found_instance import Found, is_uid

if TYPE_CHECKING:
    from requests import Response, Session

CONNECT_S: Final = 5.0
"""How long a server may take to answer the call, in seconds."""

SILENT_S: Final = 30.0
"""How long it may then be silent, in seconds."""

CHUNK_BYTES: Final = 1 << 20

MOST_FOUND_BYTES: Final = 16 << 20
"""An answer to a search is no longer, not even one of a server that knows no filter and gives all of a study."""

_SERIES_INSTANCE_UID: Final = "0020000E"
_SOP_INSTANCE_UID: Final = "00080018"
_SOP_CLASS_UID: Final = "00080016"
_STUDY_INSTANCE_UID: Final = "0020000D"
_ACCESSION_NUMBER: Final = "00080050"
_FOUND: Final = "application/dicom+json"
_ANY_SYNTAX: Final = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_GONE: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
_LATER: Final = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
)
"""What a person mends at the server or in the setting, or time does; from 500 on the same."""


def fetch(
    dicomweb: Dicomweb, name: str, study_instance_uid: str, sop_instance_uids: Collection[str], folder: Path
) -> tuple[list[str], dict[str, LesionRefused]]:
    """Fetch instances of a study into a folder.

    Args:
        dicomweb: the servers.
        name: of the one to ask.
        study_instance_uid: of the study.
        sop_instance_uids: of the instances.
        folder: an empty one.

    Returns:
        The files' names in the folder; and for each SOP Instance UID that there is no file of, why:
        ``sop_instance_not_found``, ``file_too_large`` or ``dicomweb_failed``.

    Raises:
        StudyRefused: ``dicomweb_server_unknown``.
        SetupRefused: ``setting_invalid``; the extra ``dicomweb`` is not installed.
        Unavailable: ``dicomweb_unavailable``; ``storage_unavailable``.
    """
    if name not in dicomweb.servers:
        raise StudyRefused(Code.DICOMWEB_SERVER_UNKNOWN)
    files: list[str] = []
    refused: dict[str, LesionRefused] = {}
    with _signed_in(dicomweb.servers[name]) as session:
        study = f"{dicomweb.servers[name].url}/studies/{study_instance_uid}"
        for place, uid in enumerate(sorted(sop_instance_uids)):
            file = folder / f"{place}.dcm"
            try:
                _fetch(_Asker(session, time.monotonic() + dicomweb.timeout_s), study, uid, file, dicomweb.max_bytes)
            except LesionRefused as why:
                file.unlink(missing_ok=True)
                refused[uid] = why
            else:
                files.append(file.name)
    return files, refused


def studies_of(dicomweb: Dicomweb, name: str, accession_number: str) -> list[str]:
    """Return the Study Instance UIDs of an accession number, which is compared here too, character for character.

    Raises:
        StudyRefused: ``dicomweb_server_unknown``, ``dicomweb_failed``.
        SetupRefused: ``setting_invalid``; the extra ``dicomweb`` is not installed.
        Unavailable: ``dicomweb_unavailable``.
    """
    query = {"AccessionNumber": accession_number, "includefield": _ACCESSION_NUMBER}
    found = _search(dicomweb, name, "/studies", query)
    wanted = accession_number.strip()
    uids = [_value(one, _STUDY_INSTANCE_UID) for one in found if _value(one, _ACCESSION_NUMBER) == wanted]
    return [uid for uid in dict.fromkeys(uids) if is_uid(uid)]


def instances_of(dicomweb: Dicomweb, name: str, study_instance_uid: str) -> list[Found]:
    """Return what a server has of a study: none where it has not the study.

    Raises:
        As `studies_of`.
    """
    query = {"includefield": _SOP_CLASS_UID}
    found = _search(dicomweb, name, f"/studies/{study_instance_uid}/instances", query)
    keys = _SOP_INSTANCE_UID, _SERIES_INSTANCE_UID, _SOP_CLASS_UID
    instances = [Found(*(_value(one, key) for key in keys)) for one in found]
    return [one for one in instances if is_uid(one.sop_instance_uid) and is_uid(one.series_instance_uid)]


def _search(dicomweb: Dicomweb, name: str, path: str, query: Mapping[str, str]) -> list[Any]:
    """Search (QIDO-RS, PS3.18, 10.6)."""
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    if name not in dicomweb.servers:
        raise StudyRefused(Code.DICOMWEB_SERVER_UNKNOWN)
    server = dicomweb.servers[name]
    with _signed_in(server) as session:
        asker = _Asker(session, time.monotonic() + dicomweb.timeout_s)
        try:
            with asker.ask(f"{server.url}{path}", _FOUND, MOST_FOUND_BYTES, query) as (_, body):
                found = _json_of(b"".join(body) or b"[]")
        except LesionRefused as refused:
            if refused.code is Code.SOP_INSTANCE_NOT_FOUND:
                return []
            raise StudyRefused(Code.DICOMWEB_FAILED, refused.reason) from None
        except DlrError:
            raise
        except (RequestException, HTTPError):
            raise Unavailable(Code.DICOMWEB_UNAVAILABLE) from None
        except Exception:  # noqa: BLE001  whatever an answer that is not DICOMweb does to who reads it
            raise StudyRefused(Code.DICOMWEB_FAILED) from None
    if not isinstance(found, list):
        raise StudyRefused(Code.DICOMWEB_FAILED, "the answer to a search is not a list (PS3.18, F.2)")
    return found


def _value(one: Any, key: str) -> str:
    """Return the first value of an attribute of the DICOM JSON Model (PS3.18, F.2); empty where there is none."""
    said = one.get(key) if isinstance(one, dict) else None
    values = said.get("Value") if isinstance(said, dict) else None
    return str(values[0]).strip() if isinstance(values, list) and values else ""


def _fetch(asker: "_Asker", study: str, uid: str, file: Path, most_bytes: int) -> None:
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    try:
        series = _series_of(asker, study, uid)
        _retrieve(asker, f"{study}/series/{series}/instances/{uid}", file, most_bytes)
    except DlrError:
        raise
    except (RequestException, HTTPError):
        raise Unavailable(Code.DICOMWEB_UNAVAILABLE) from None
    except OSError:
        raise Unavailable(Code.STORAGE_UNAVAILABLE, "an instance could not be written to the TMPDIR") from None
    except Exception:  # noqa: BLE001  whatever an answer that is not DICOMweb does to who reads it
        raise LesionRefused(Code.DICOMWEB_FAILED) from None


@dataclass(frozen=True, slots=True)
class _Asker:
    """Asks a server until a time, monotonic."""

    session: "Session"
    deadline: float

    @contextmanager
    def ask(
        self, url: str, accept: str, most_bytes: int, query: Mapping[str, str] | None = None
    ) -> Iterator[tuple["Response", Iterator[bytes]]]:
        """Ask for something; give the answer and its body in parts, up to so many bytes."""
        left_s = self._left_s()
        asked = self.session.get(
            url,
            params=query,
            headers={"Accept": accept, "Accept-Encoding": "identity"},
            stream=True,
            timeout=(min(CONNECT_S, left_s), left_s),
            allow_redirects=False,
        )
        with asked as response:
            if not HTTPStatus.OK <= response.status_code < HTTPStatus.MULTIPLE_CHOICES:
                raise _fault(response.status_code)
            yield response, self._bounded(response, most_bytes)

    def _bounded(self, response: "Response", most_bytes: int) -> Iterator[bytes]:
        taken = 0
        # What has come, and not a whole chunk: a server that sends a byte now and then would never fill one.
        while part := response.raw.read1(CHUNK_BYTES, decode_content=True):
            taken += len(part)
            if taken > most_bytes:
                raise LesionRefused(Code.FILE_TOO_LARGE, "the instance is larger than DLR_DICOMWEB_MAX_BYTES")
            self._left_s()
            yield part

    def _left_s(self) -> float:
        left_s = self.deadline - time.monotonic()
        if left_s <= 0:
            raise Unavailable(Code.DICOMWEB_UNAVAILABLE, "an instance took longer than DLR_DICOMWEB_TIMEOUT_S")
        return left_s


@contextmanager
def _signed_in(server: Server) -> Iterator["Session"]:
    try:
        from requests import Session

        from worker.network.timed_http import TimedAnswers
    except ImportError:
        reason = "DICOMweb needs the extra: pip install 'dlr-worker[dicomweb]'"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    with Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, TimedAnswers(SILENT_S))
        session.trust_env = False  # neither a proxy nor a password that the settings do not name
        session.verify = True if server.ca is None else str(server.ca)
        session.headers.update(server.headers)
        yield session


def _series_of(asker: _Asker, study: str, uid: str) -> str:
    """Ask in which series an instance is (QIDO-RS, PS3.18, 10.6)."""
    query = {"SOPInstanceUID": uid}
    with asker.ask(f"{study}/instances", _FOUND, MOST_FOUND_BYTES, query) as (_, body):
        found = _json_of(b"".join(body) or b"[]")
    # A server that knows no filter gives other instances too.
    wanted = (one for one in found if one[_SOP_INSTANCE_UID]["Value"] == [uid])
    series: list[str] = next((one[_SERIES_INSTANCE_UID]["Value"] for one in wanted), [])
    if not series:
        raise LesionRefused(Code.SOP_INSTANCE_NOT_FOUND)
    if len(series) > 1 or not is_uid(series[0]):
        raise LesionRefused(Code.DICOMWEB_FAILED)
    return series[0]


def _json_of(content: bytes) -> Any:
    """Read JSON whose texts may be in any character set, or have control characters: of it all, UIDs alone are used."""
    return json.loads(content.decode(json.detect_encoding(content), "replace"), strict=False)


def _retrieve(asker: _Asker, url: str, file: Path, most_bytes: int) -> None:
    """Retrieve an instance as it is stored (WADO-RS, PS3.18, 10.4)."""
    with asker.ask(url, _ANY_SYNTAX, most_bytes) as (response, body), file.open("xb") as written:
        for part in body:
            written.write(part)
        content_type = Message()
        content_type["Content-Type"] = response.headers.get("Content-Type", "")
    if content_type.get_content_maintype() == "multipart":
        _unwrap(file, content_type.get_boundary())


def _unwrap(file: Path, boundary: str | None) -> None:
    """Leave of a multipart answer its first part's content, in its place (RFC 2046, 5.1.1).

    Without a boundary, which some servers do not give, the answer is the content.
    """
    if not file.stat().st_size:
        raise LesionRefused(Code.SOP_INSTANCE_NOT_FOUND)
    if boundary is None:
        return
    marker = f"--{boundary}".encode("latin-1")
    with file.open("r+b") as written:
        with mmap(written.fileno(), 0) as body:
            head = body.find(b"\r\n\r\n", max(body.find(marker), 0))
            if head < 0:
                raise LesionRefused(Code.SOP_INSTANCE_NOT_FOUND)
            start = head + len(b"\r\n\r\n")
            end = body.find(b"\r\n" + marker, start)
            size = (len(body) if end < 0 else end) - start
            body.move(0, start, size)
        written.truncate(size)


def _fault(status: int) -> DlrError:
    """Tell an instance that is not there, a server that refuses us for now, and a refusal for good."""
    if status in _GONE:
        return LesionRefused(Code.SOP_INSTANCE_NOT_FOUND)
    if status in _LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unavailable(Code.DICOMWEB_UNAVAILABLE)
    return LesionRefused(Code.DICOMWEB_FAILED, f"the DICOMweb server refused the request: HTTP {status}")
