"""Audit messages: each event in the schema and with the codes of DICOM, whatever people are called."""

import os
import shutil
import subprocess
from base64 import b64decode
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.sr import _concepts_dict

from db.schema.audit import Audited
from db.writes.audit import AuditEvent
from worker.audit import message
from worker.audit.message import KINDS, Coded, Source, audit_message

SCHEMA = Path(__file__).with_name("audit_message.rng")
STUDY = UUID("0c3b1f0e-7a43-4c70-8b3c-6c1f7cbf3f50")
SOURCE = Source("dlr.hospital.example", "North")


def event(what: Audited, **said: object) -> AuditEvent:
    whole: dict[str, object] = {
        "role": "radiologist",
        "address": "10.0.0.7",
        "detail": "archive",
        "study_id": STUDY if what not in (Audited.SIGNED_IN, Audited.WORKLIST_QUERIED) else None,
        "study_instance_uid": "1.2.3",
        "accession_number": "A1",
        **said,
    }
    return AuditEvent(1, datetime(2026, 11, 30, 5, 30, tzinfo=UTC), what, "anna", **whole)  # type: ignore[arg-type]


def parsed(made: str) -> ET.Element:
    return ET.fromstring(made)  # noqa: S314  our own


def test_each_event_is_valid_in_the_schema(tmp_path: Path) -> None:
    xmllint = shutil.which("xmllint")
    if xmllint is None:
        assert os.environ.get("DLR_TEST_TOOLS") != "required", "libxml2-utils is not installed"
        pytest.skip("libxml2-utils is not installed")
    files = []
    for what in Audited:
        for number, one in enumerate((event(what), event(what, address=None, study_instance_uid=None, detail=None))):
            files.append(tmp_path / f"{what}.{number}.xml")
            files[-1].write_text(audit_message(one, SOURCE), "utf-8")
    broken = tmp_path / "broken.xml"
    broken.write_text(files[0].read_text().replace("UserIsRequestor", "UserAsked"))
    check = [xmllint, "--noout", "--relaxng", str(SCHEMA)]
    done = subprocess.run([*check, *map(str, files)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert subprocess.run([*check, str(broken)], capture_output=True, check=False).returncode != 0


def test_every_code_of_dicom_has_its_meaning() -> None:
    meanings = {
        code: meaning
        for of_keyword in _concepts_dict.concepts["DCM"].values()
        for code, (meaning, _) in of_keyword.items()
    }
    used = [one for kind in KINDS.values() for one in (kind.event, kind.type) if one is not None]
    used += [one for one in vars(message).values() if isinstance(one, Coded)]
    for one in used:
        if one.scheme == "DCM":
            assert meanings[one.code] == one.meaning


def test_who_opened_which_study_is_told_with_its_uid_and_accession_number() -> None:
    root = parsed(audit_message(event(Audited.STUDY_OPENED), SOURCE))
    identification = root.find("EventIdentification")
    assert identification is not None
    assert identification.attrib == {
        "EventActionCode": "R",
        "EventDateTime": "2026-11-30T05:30:00.000Z",
        "EventOutcomeIndicator": "0",
    }
    [who] = root.findall("ActiveParticipant")
    assert (who.get("UserID"), who.get("UserIsRequestor"), who.get("NetworkAccessPointID")) == (
        "anna",
        "true",
        "10.0.0.7",
    )
    [study] = root.findall("ParticipantObjectIdentification")
    assert study.get("ParticipantObjectID") == "1.2.3"
    assert study.findtext("ParticipantObjectName") == str(STUDY)
    accession = study.find("ParticipantObjectDescription/Accession")
    assert accession is not None
    assert accession.get("Number") == "A1"


def test_of_a_purged_study_the_opaque_id_alone_is_told() -> None:
    one = event(Audited.STUDY_OPENED, study_instance_uid=None, accession_number=None)
    [study] = parsed(audit_message(one, SOURCE)).findall("ParticipantObjectIdentification")
    assert study.get("ParticipantObjectID") == str(STUDY)


def test_a_query_is_told_as_it_was_asked_and_a_refused_sign_in_as_a_failure() -> None:
    query = parsed(audit_message(event(Audited.WORKLIST_QUERIED, detail="tier=low&limit=5"), SOURCE))
    asked = query.findtext("ParticipantObjectIdentification/ParticipantObjectQuery")
    assert b64decode(asked or "") == b"tier=low&limit=5"
    refused = parsed(audit_message(event(Audited.SIGN_IN_REFUSED), SOURCE)).find("EventIdentification")
    assert refused is not None
    assert refused.get("EventOutcomeIndicator") == "4"


@settings(max_examples=30)
@given(actor=st.text(), detail=st.text(), what=st.sampled_from(list(Audited)))
def test_whatever_somebody_is_called_it_is_a_message(actor: str, detail: str, what: Audited) -> None:
    made = AuditEvent(1, datetime.now(UTC), what, actor, detail=detail, study_id=STUDY, accession_number=detail)
    assert parsed(audit_message(made, SOURCE)).tag == "AuditMessage"
