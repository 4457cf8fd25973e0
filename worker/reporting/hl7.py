"""A study's result as an HL7 v2.5.1 message ORU^R01: one OBX a statement, those of a lesion under one Sub-ID.

The Sub-ID of a lesion is its number, such as 2; that of one of its several images has the image's too, such as 2.1.

Numbers are of the type NM, at most 16 characters (HL7 v2.5.1, 2.A.47): a probability is rounded to 14 decimals, and an
age to 12 or more.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NamedTuple
from unicodedata import category

from worker import __version__
from worker.errors import Code, SetupRefused
from worker.reporting import concepts
from worker.reporting.concepts import Concept
from worker.reporting.identifiers import instance_uid, tracking_uid
from worker.reporting.lesion_content import (
    Choice,
    ContentItem,
    Number,
    content_of,
    has_several_images,
    image_content_of,
    parameters_of,
    summary_of,
)
from worker.reporting.person_name import Writing, names_of
from worker.reporting.result import LesionResult, StudyResult
from worker.reporting.source_study import Marked, Source, Subject, accession_of

KIND: Final = "hl7"
VERSION: Final = "2.5.1"
PRELIMINARY: Final = "P"
_LONGEST_NUMBER: Final = 16
_LONGEST_CONTROL_ID: Final = 20
_LONGEST_NAMESPACE: Final = 20
_LONGEST_STRING: Final = 199
"""Characters of an IS and of an ST (HL7 v2.5.1, 2.A.36 and 2.A.74)."""

_OID: Final = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
_WRITINGS: Final = {Writing.ALPHABETIC: "A", Writing.IDEOGRAPHIC: "I", Writing.PHONETIC: "P"}
_ANONYMOUS: Final = "ANON"
"""The type of an identifier that is no patient's (HL7 table 0203)."""

_UNSPECIFIED: Final = "^^^^^^U"
"""An XPN of the type "unspecified" (HL7 table 0200), since PID-5 may not be empty."""

STUDY_UID: Final = Concept("110180", "DCM", "Study Instance UID")
TRACKING_ID: Final = Concept("112039", "DCM", "Tracking Identifier")
TRACKING_UID: Final = Concept("112040", "DCM", "Tracking Unique Identifier")
IMAGE_UID: Final = Concept("IMAGE_UID", concepts.OWN, "SOP Instance UID of the image")
FRAME: Final = Concept("FRAME", concepts.OWN, "Frame of the image, from 1")
REGION: Final = Concept("REGION", concepts.OWN, "Region: x, y, width, height in pixels; x and y from 0")
RESULT: Final = Concept("RESULT", concepts.OWN, "DLR: recommendation, not a diagnosis")

_ESCAPED: Final = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}


@dataclass(frozen=True, slots=True)
class Addressing:
    """What a receiver wants in a message that is sent to it.

    Attributes:
        sending_facility: MSH-4, with ``receiving_application`` MSH-5 and ``receiving_facility`` MSH-6; an HD each.
        processing_id: MSH-11: ``P`` for production, ``T`` for training, ``D`` for debugging (HL7 table 0103).
        placer_is_accession: the accession number is OBR-2 too, where the images have no placer's order number.
    """

    sending_facility: str = ""
    receiving_application: str = ""
    receiving_facility: str = ""
    processing_id: str = "P"
    placer_is_accession: bool = False


class Statement(NamedTuple):
    """One OBX: its Sub-ID (none: it is of the study), its value's type and ER7 text, and its unit."""

    sub_id: str
    name: Concept
    kind: str
    value: str
    unit: Concept | None = None


def hl7_message(result: StudyResult, source: Source, addressing: Addressing | None = None) -> str:
    """Make the message of a result. The same result gives the same message, with the same control id.

    Args:
        result: ended, of a study with a Study Instance UID.
        source: of its files: patient and study.
        addressing: what its receiver wants; it has ORC and NTE then, and without it there is no receiver.

    Returns:
        ER7 text in UTF-8 (MSH-18 says so), a carriage return after each segment, without the framing of MLLP.

    Raises:
        SetupRefused: ``setting_invalid``; the extra ``export`` is not installed.
    """
    try:
        from hl7apy.core import Message
    except ImportError:
        reason = "HL7 needs the extra: pip install 'dlr-worker[export]'"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    message = Message("ORU_R01", version=VERSION)
    _header(message.msh, result)
    if addressing is not None:
        _address(message.msh, addressing)
    of_patient = message.add_group("ORU_R01_PATIENT_RESULT")
    _patient(of_patient.add_group("ORU_R01_PATIENT").add_segment("PID"), result, source.subject)
    order = of_patient.add_group("ORU_R01_ORDER_OBSERVATION")
    if addressing is not None:
        _order(order.add_segment("ORC"), result, source.subject, addressing)
    obr = order.add_segment("OBR")
    _request(obr, result, source.subject)
    if addressing is not None:
        obr.obr_2 = _placer(result, source.subject, addressing)
        for place, note in enumerate((RESULT.meaning, *result.notices), start=1):
            _note(order.add_segment("NTE"), place, note)
    for place, statement in enumerate(_statements(result, source.subject), start=1):
        _observe(order.add_group("ORU_R01_OBSERVATION").add_segment("OBX"), place, statement)
    text: str = message.to_er7()
    return text + "\r"


def _header(msh: Any, result: StudyResult) -> None:
    ending = result.endings[-1]
    msh.msh_3 = f"DLR^{__version__}"
    msh.msh_7 = f"{ending.at:%Y%m%d%H%M%S.%f}"[:19] + f"{ending.at:%z}"
    msh.msh_9 = "ORU^R01^ORU_R01"
    msh.msh_10 = control_id_of(result)
    msh.msh_11 = "P"
    msh.msh_18 = "UNICODE UTF-8"


def control_id_of(result: StudyResult) -> str:
    """Return the control id (MSH-10) of a result's message, by which its acknowledgement names it."""
    return hashlib.sha256(instance_uid(result.endings[-1], KIND).encode()).hexdigest()[:_LONGEST_CONTROL_ID]


def _address(msh: Any, addressing: Addressing) -> None:
    msh.msh_4 = addressing.sending_facility
    msh.msh_5 = addressing.receiving_application
    msh.msh_6 = addressing.receiving_facility
    msh.msh_11 = addressing.processing_id


def _order(orc: Any, result: StudyResult, subject: Subject, addressing: Addressing) -> None:
    orc.orc_1 = "RE"
    orc.orc_2 = _placer(result, subject, addressing)
    orc.orc_3 = _filler(result, subject)


def _placer(result: StudyResult, subject: Subject, addressing: Addressing) -> str:
    accession = _st(accession_of(subject, result)) if addressing.placer_is_accession else ""
    return _st(subject.placer_order_number) or accession


def _filler(result: StudyResult, subject: Subject) -> str:
    return _st(accession_of(subject, result)) or escaped(str(result.study_id))


def _note(nte: Any, place: int, text: str) -> None:
    nte.nte_1 = str(place)
    nte.nte_2 = "L"
    nte.nte_3 = escaped(text)


def _patient(pid: Any, result: StudyResult, subject: Subject) -> None:
    pid.pid_1 = "1"
    patient_id, issuer = _st(subject.patient_id), _authority(subject.issuer_of_patient_id)
    # PID-3 may not be empty.
    pid.pid_3 = f"{patient_id}^^^{issuer}".rstrip("^") if patient_id else f"{result.study_id}^^^DLR^{_ANONYMOUS}"
    for name in _names(subject.patient_name) or [_UNSPECIFIED]:
        pid.add_field("PID_5").value = name
    pid.pid_7 = subject.patient_birth_date
    pid.pid_8 = subject.patient_sex


def _authority(issuer: str) -> str:
    """Return who assigned an identifier, as an HD: a namespace where it is short, else an id of its own kind."""
    namespace = escaped(issuer)
    if len(namespace) <= _LONGEST_NAMESPACE:
        return namespace
    return f"&{_st(issuer)}&{'ISO' if _OID.fullmatch(issuer) else 'L'}" if _st(issuer) else ""


def _names(person: str) -> list[str]:
    """Turn a Person Name into XPNs, one a group, where the suffix comes before the prefix.

    How a group is written (HL7 table 0465) is said of all but an alphabetic one that stands alone.
    """
    names = names_of(person)
    is_plain = [name.writing for name in names] == [Writing.ALPHABETIC]
    return [
        "^".join(
            [*map(escaped, (name.family, name.given, name.middle, name.suffix, name.prefix)), "", ""]
            + ([] if is_plain else [_WRITINGS[name.writing]])
        ).rstrip("^")
        for name in names
    ]


def _request(obr: Any, result: StudyResult, subject: Subject) -> None:
    obr.obr_1 = "1"
    obr.obr_3 = _filler(result, subject)
    obr.obr_4 = _coded(concepts.ULTRASONOGRAPHY)
    obr.obr_7 = subject.study_date + subject.study_time[:6] if subject.study_date else ""
    obr.obr_22 = f"{result.endings[-1].at:%Y%m%d%H%M%S%z}"
    obr.obr_25 = PRELIMINARY


def _left_out(result: StudyResult, subject: Subject) -> Iterator[str]:
    """Give what the fields of patient and request can not hold, for a statement, which can."""
    if subject.patient_name and not names_of(subject.patient_name):
        yield f"Patient's Name, which is none: {subject.patient_name}"
    said = {
        "Patient ID": subject.patient_id,
        "Issuer of Patient ID": subject.issuer_of_patient_id if subject.patient_id else "",
        "Accession Number": accession_of(subject, result),
    }
    yield from (f"{name}, too long for its field: {value}" for name, value in said.items() if value and not _st(value))


def _observe(obx: Any, place: int, statement: Statement) -> None:
    obx.obx_1 = str(place)
    obx.obx_2 = statement.kind
    obx.obx_3 = _coded(statement.name)
    obx.obx_4 = statement.sub_id
    obx.obx_5 = statement.value
    obx.obx_6 = _coded(statement.unit) if statement.unit else ""
    obx.obx_11 = PRELIMINARY


def _statements(result: StudyResult, subject: Subject) -> Iterator[Statement]:
    yield Statement("", STUDY_UID, "ST", result.study_instance_uid or "")
    yield Statement("", RESULT, "TX", escaped(summary_of(result)))
    for line in _left_out(result, subject):
        yield Statement("", concepts.COMMENT, "TX", escaped(line))
    for lesion in result.lesions:
        yield from _of_lesion(result, lesion)


def _of_lesion(result: StudyResult, lesion: LesionResult) -> Iterator[Statement]:
    place = str(lesion.ordinal)
    yield Statement(place, TRACKING_ID, "ST", escaped(lesion.lesion_id))
    yield Statement(place, TRACKING_UID, "ST", tracking_uid(result, lesion))
    if not has_several_images(lesion):
        yield from _marked(place, lesion)
    for finding in content_of(lesion):
        yield _statement(place, finding)
    for score in lesion.scores:
        said = ", ".join([f"{score.model} {score.version}", *parameters_of(score)])
        yield Statement(place, concepts.MODEL, "TX", escaped(said))
    if has_several_images(lesion):
        for image in lesion.images:
            of_image = f"{place}.{image.ordinal}"
            yield from _marked(of_image, image)
            for finding in image_content_of(lesion, image):
                yield _statement(of_image, finding)


def _marked(place: str, marked: Marked) -> Iterator[Statement]:
    box = marked.region or marked.roi
    yield Statement(place, IMAGE_UID, "ST", escaped(marked.sop_instance_uid))
    if marked.frame is not None:
        yield Statement(place, FRAME, "NM", str(marked.frame))
    if box is not None:
        yield Statement(place, REGION, "ST", ", ".join(map(str, box)))


def _statement(place: str, finding: ContentItem) -> Statement:
    if isinstance(finding, Number):
        return Statement(place, finding.name, "NM", decimal_text(finding.value), finding.unit)
    if isinstance(finding, Choice):
        return Statement(place, finding.name, "CWE", _coded(finding.value))
    return Statement(place, finding.name, "TX", escaped(finding.text))


def decimal_text(value: float) -> str:
    """Return a number, 0 or more, as NM has it: no exponent, at most 16 characters, rounded to what these hold."""
    exact = f"{Decimal(repr(value)):f}"
    if len(exact) <= _LONGEST_NUMBER:
        return exact
    decimals = _LONGEST_NUMBER - len(str(int(value))) - 1
    return f"{Decimal(repr(value)):.{decimals}f}"


def escaped(text: str) -> str:
    """Escape what HL7 takes for delimiters (HL7 v2.5.1, 2.7.1).

    A control character becomes a space: as it stands it could end a segment or a frame of MLLP, and hl7apy does not
    pass its hexadecimal escape on.
    """
    return "".join(_ESCAPED.get(one) or (" " if category(one) == "Cc" else one) for one in text)


def _st(text: str) -> str:
    """Return a text as an ST, escaped; empty where that is longer than one may be (HL7 v2.5.1, 2.A.74)."""
    string = escaped(text)
    return string if len(string) <= _LONGEST_STRING else ""


def _coded(concept: Concept) -> str:
    scheme = f"99{concept.scheme}" if concept.scheme == "BI" else concept.scheme
    return "^".join(map(escaped, (concept.value, concept.meaning, scheme)))
