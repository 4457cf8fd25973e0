"""A webhook: a POST that a study has ended, signed as Standard Webhooks has it (https://www.standardwebhooks.com)."""

import hashlib
import hmac
import json
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from db.schema.vocabulary import Outcome
from worker.errors import Code, StudyRefused, Unavailable
from worker.reporting.lesion_content import count_images, has_several_images, views_disagree
from worker.reporting.result import StudyResult
from worker.sending.destination import Deliver, Parcel

if TYPE_CHECKING:
    from requests import Session

CONNECT_S: Final = 5.0
"""How long a receiver may take to take the call, in seconds."""

_SILENT: Final = "the receiver does not answer, or not with TLS"
_SECRET: Final = "whsec_"  # noqa: S105  a prefix
_OF_THE_MESSAGE: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.CONFLICT,
    HTTPStatus.GONE,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
"""What a receiver says of this message, or that it wants no more. Any other status is of the address, the sign-in, the
form of every message or the moment, which a person or time mends."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A receiver.

    Attributes:
        url: no redirect of it is followed.
        secret: for the signature; ``None``: there is none.
        timeout_s: the longest wait for the answer.
        ca: PEM of whom to trust; ``None``: whom the system trusts.
        identifiers: whether Study Instance UID and accession number are told.
    """

    url: str
    secret: str | None
    timeout_s: float
    ca: Path | None = None
    identifiers: bool = False
    name: str = "webhook"

    @property
    def where(self) -> str:
        """Its URL."""
        return self.url

    def test(self) -> str:
        """Ask by OPTIONS, to which a receiver may give any answer: what counts is that it gives one, over TLS."""
        from requests import RequestException

        with self._session() as session:
            try:
                with session.options(
                    self.url, timeout=(CONNECT_S, self.timeout_s), allow_redirects=False, stream=True
                ) as answer:
                    return f"OPTIONS answered HTTP {answer.status_code}"
            except (RequestException, OSError):
                raise Unavailable(Code.DESTINATION_UNAVAILABLE, _SILENT) from None

    @contextmanager
    def opened(self) -> Iterator[Deliver]:
        """Keep one connection for several results."""
        with self._session() as session:
            yield lambda parcel: self._post(session, parcel)

    @contextmanager
    def _session(self) -> Iterator["Session"]:
        from requests import Session

        from worker.network.timed_http import TimedAnswers

        with Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, TimedAnswers())
            session.trust_env = False  # neither a proxy nor a password that the settings do not name
            session.verify = True if self.ca is None else str(self.ca)
            yield session

    def _post(self, session: "Session", parcel: Parcel) -> None:
        from requests import RequestException

        body = json.dumps(event_of(parcel, identifiers=self.identifiers)).encode()
        try:
            # Streamed, so that nothing of the answer's body is read.
            with session.post(
                self.url,
                data=body,
                headers={"Content-Type": "application/json", **signed(body, parcel.delivery_id, self.secret)},
                timeout=(CONNECT_S, self.timeout_s),
                allow_redirects=False,
                stream=True,
            ) as answer:
                status = answer.status_code
        except (RequestException, OSError):
            raise Unavailable(Code.DESTINATION_UNAVAILABLE, _SILENT) from None
        _check(status)


def event_of(parcel: Parcel, *, identifiers: bool) -> dict[str, Any]:
    """Return what is posted of a result."""
    result = parcel.result
    counted = {outcome.value: sum(lesion.outcome == outcome for lesion in result.lesions) for outcome in Outcome}
    named = {"study_instance_uid": result.study_instance_uid, "accession_number": result.accession_number}
    return {
        "type": "study.ended",
        "delivery_id": str(parcel.delivery_id),
        "timestamp": result.endings[-1].at.isoformat(),
        "study_id": str(result.study_id),
        "revision": result.revision,
        "state": result.state,
        "priority": result.priority,
        "worklist_class": result.worklist_class,
        "tier": None if result.place is None else result.place.tier,
        "place_reason": None if result.place is None else result.place.place_reason,
        "lesions": len(result.lesions),
        "outcomes": counted,
        "error_code": result.error_code,
        "notices": list(result.notices),
        **_images(result),
        **(named if identifiers else {}),
    }


def _images(result: StudyResult) -> dict[str, int]:
    """Count images, where a lesion has several: all, those without a score, and lesions whose images disagree."""
    if not any(has_several_images(lesion) for lesion in result.lesions):
        return {}
    images, refused = count_images(result)
    disagreeing = sum(views_disagree(lesion) for lesion in result.lesions)
    return {"images": images, "images_refused": refused, "views_disagree": disagreeing}


def signed(body: bytes, delivery_id: int, secret: str | None) -> dict[str, str]:
    """Return the headers that tell a receiver which delivery it is and, with a secret, that it is ours."""
    moment = str(int(time.time()))
    headers = {"webhook-id": str(delivery_id), "webhook-timestamp": moment}
    if secret is None:
        return headers
    signature = hmac.digest(_key(secret), f"{delivery_id}.{moment}.".encode() + body, hashlib.sha256)
    return headers | {"webhook-signature": f"v1,{b64encode(signature).decode()}"}


def _key(secret: str) -> bytes:
    return b64decode(secret.removeprefix(_SECRET)) if secret.startswith(_SECRET) else secret.encode()


def _check(status: int) -> None:
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return
    if status in _OF_THE_MESSAGE:
        raise StudyRefused(Code.DESTINATION_REFUSED, f"the receiver refused it: HTTP {status}")
    raise Unavailable(Code.DESTINATION_UNAVAILABLE, f"the receiver answers HTTP {status}")
