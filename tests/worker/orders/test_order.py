"""What of an HL7 message asks for a study, by the default map and by a site's own."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import hl7
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.orders.messages import msh, omi, orm, oru, segment, segments
from worker.errors import JobRefused, SetupRefused
from worker.orders.order import header_of, job_of, read_message
from worker.orders.order_map import OrderMap, default_map, default_text, read_map

IMAGES = {"kind": "pacs", "server": "pacs"}


def job(block: bytes, told: OrderMap | None = None) -> dict[str, Any] | None:
    message = read_message(block)
    found = job_of(message, header_of(message).kind, IMAGES, told or default_map())
    return found and {name: value for name, value in found.items() if name not in ("schema_version", "images")}


ROUTINE_A77 = {"priority": "routine", "accession_number": "A77"}


@pytest.mark.parametrize(
    ("block", "asked"),
    [
        (oru(), ROUTINE_A77),
        (oru(status="P"), ROUTINE_A77),
        (oru(status="C", priority="^^^^^S"), ROUTINE_A77 | {"priority": "stat"}),
        (oru(priority="1^^^^^A"), ROUTINE_A77 | {"priority": "urgent"}),
        (oru(priority="^^^^^R"), ROUTINE_A77),
        (oru(status="I"), None),
        (oru(status=""), None),
        (orm(), ROUTINE_A77),
        (orm(status="IP"), None),
        (omi(), {"priority": "routine", "accession_number": "A88", "study_instance_uid": "1.2.3.4"}),
        (omi(priority="S"), {"priority": "stat", "accession_number": "A88", "study_instance_uid": "1.2.3.4"}),
        (omi(study=""), {"priority": "routine", "accession_number": "A88"}),
        (oru(accession=""), {"priority": "routine", "accession_number": "F1"}),
        (oru(accession='""'), {"priority": "routine", "accession_number": "F1"}),
        (oru(accession="A\\T\\7"), {"priority": "routine", "accession_number": "A&7"}),
        (oru().replace(b"\r", b"\r\n"), ROUTINE_A77),
    ],
    ids=range(16),
)
def test_a_message_asks_for_its_study_where_its_status_says_that_it_is_ready(
    block: bytes, asked: dict[str, Any] | None
) -> None:
    assert job(block) == asked


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"", "not HL7 v2"),
        (b"hello", "not HL7 v2"),
        (b"MSH|", "not HL7 v2"),
        (b"\xff\xfe\x00", "not HL7 v2"),
        (segments("PID|1"), "not HL7 v2"),
        (oru(control_id=""), "MSH-10"),
        (segments(msh("ORU^R01", charset="KS X 1001"), "OBR|1"), "MSH-18"),
        (oru().replace(b"A77", b"A\xc4"), "character set of MSH-18"),
        (segments(msh("ORM^O01"), "ORC|SC||||CM"), "names no study: IPC-1.1, OBR-18.1"),
        (oru() + oru("A78").split(b"\r", 2)[2], "several values"),
        (omi(study="1.2.x"), "study_instance_uid"),
        (oru(accession="A" * 65), "accession_number"),
    ],
    ids=range(12),
)
def test_what_can_not_be_read_is_refused_with_a_reason_that_repeats_no_value(block: bytes, reason: str) -> None:
    with pytest.raises(JobRefused, match="hl7_invalid") as refused:
        job(block)
    assert reason in refused.value.reason
    assert "A78" not in refused.value.reason


def test_a_message_in_latin_1_is_read_where_it_says_so() -> None:
    block = (
        segments(msh("ORM^O01", charset="8859/1"), "ORC|SC||||CM", segment("OBR", _18="Ä1")).decode().encode("latin-1")
    )
    assert job(block) == {"priority": "routine", "accession_number": "Ä1"}


@given(st.binary(max_size=200), st.sampled_from([b"", msh("ORU^R01").encode() + b"\r"]))
def test_whatever_comes_is_a_job_or_nothing_or_refused(tail: bytes, head: bytes) -> None:
    with suppress(JobRefused):
        job(head + tail)


def test_a_site_says_itself_which_field_means_what(tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(
        """
        [[ready]]
        message = "ORU^R01"
        field = "OBX-11"
        values = ["F"]
        [study]
        accession_number = ["ZAC-2.3"]
        [priority]
        fields = ["ZAC-3"]
        stat = ["now"]
        """
    )
    block = segments(msh("ORU^R01"), "OBR|1", "OBX|1|TX|||||||||F", "ZAC|1|x^y^A9|NOW")
    assert job(block, read_map(tmp_path / "map.toml")) == {"priority": "stat", "accession_number": "A9"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("not toml", "not TOML"),
        ("", "ready"),
        (default_text().replace("ORM^O01", "ADT^A01"), "has to be one of"),
        (default_text().replace('"ORC-5"', '"ORC"'), "SEGMENT-FIELD"),
        (default_text() + "\nother = 1\n", "other"),
    ],
    ids=range(5),
)
def test_a_map_that_can_not_be_used_names_the_field(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "map.toml").write_text(text)
    with pytest.raises(SetupRefused, match="setting_invalid") as refused:
        read_map(tmp_path / "map.toml")
    assert reason in refused.value.reason


def test_the_messages_of_these_tests_are_hl7() -> None:
    assert [str(hl7.parse(one.decode()).extract_field("MSH", 1, 9)) for one in (oru(), orm(), omi())]
