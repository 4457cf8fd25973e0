"""The file of destinations: what may stand in it, and what is said of one that may not."""

import re
from pathlib import Path
from typing import get_args

import pytest

from worker.errors import Code, SetupRefused
from worker.sending.destinations_file import Entry, FolderOnDisk, parse_destinations, read_destinations
from worker.sending.from_file import terms_of
from worker.sending.from_settings import destinations, routes, wants_pictures
from worker.settings import Settings

FOLDER = '[destination.drop]\nkind = "folder"\npath = "out"\n'
DIMSE = '[destination.archive]\nkind = "dimse"\naddress = "PACS@pacs.example:104"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "destination: is missing"),
        ("[destination]", "destination"),
        ("a = ", "is no TOML"),
        ("[destination.Archive]\nkind = 'folder'\npath = 'x'", "destination.Archive: a name has small letters"),
        ("[destination.a]\nkind = 'fax'", "destination.a: 'kind' has to be one of"),
        ("[destination.a]\npath = 'x'", "destination.a: 'kind' is missing"),
        ("[destination.a]\nkind = 'folder'", "destination.a.path: is missing"),
        (FOLDER + "colour = 1", "destination.drop.colour: there is no such name"),
        (FOLDER + "documents = []", "destination.drop.documents"),
        (FOLDER + "documents = ['fax']", "destination.drop.documents.0: has to be"),
        (DIMSE + "documents = ['hl7']", "destination.archive.documents.0: has to be"),
        (DIMSE.replace("PACS@", ""), "destination.archive.address: "),
        (FOLDER + "[destination.drop.results]\noutcomes = ['better']", "results.outcomes.0: "),
        (FOLDER + "[destination.drop.results]\npriorities = ['soon']", "results.priorities.0: has to be"),
        (FOLDER + "[destination.drop.retry]\norder = 'random'", "retry.order: has to be"),
        (FOLDER + "[destination.drop.quiet]\nfrom = 22:00:00\nto = 06:00:00\nzone = 'Mars'", "IANA time zone"),
        (FOLDER + "[destination.drop.quiet]\nfrom = 22:00:00\nto = 22:00:00\nzone = 'UTC'", "two different times"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, said: str) -> None:
    with pytest.raises(SetupRefused) as refused:
        parse_destinations(text)
    assert refused.value.code is Code.DESTINATIONS_INVALID
    assert said in refused.value.reason


def test_each_table_is_a_destination_in_the_order_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "destinations.toml"
    file.write_text(DIMSE + FOLDER)
    entries = read_destinations(file)
    assert list(entries) == ["archive", "drop"]
    drop = entries["drop"]
    assert isinstance(drop, FolderOnDisk)
    assert drop.path == tmp_path / "out", "relative to the file"
    assert not drop.results.demo, "unless it is asked for"


def test_a_file_that_is_not_there_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupRefused, match="destinations_invalid"):
        read_destinations(tmp_path / "none.toml")
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (300 << 10))
    with pytest.raises(SetupRefused, match="destinations_invalid"):
        read_destinations(large)


def test_the_older_settings_are_a_destination_each_beside_those_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "destinations.toml"
    file.write_text(DIMSE + 'documents = ["sr", "pictures"]\n' + FOLDER)
    settings = Settings(send_destinations=file, send_pacs="PACS@h:104")
    found = routes(settings)
    assert [(route.destination.name, route.kind, route.terms.rules.demo) for route in found] == [
        ("pacs", "dimse", True),
        ("archive", "dimse", False),
        ("drop", "folder", False),
    ]
    assert wants_pictures(settings)
    assert not wants_pictures(Settings(send_pacs="PACS@h:104"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (DIMSE.replace("archive", "pacs"), "destination.pacs: a DLR_SEND_ setting"),
        (DIMSE + 'key = "key.pem"', "destination.archive: certificate and key need ca"),
        (DIMSE + 'ca = "none.pem"', "destination.archive: ca, certificate or key cannot be read"),
        (
            '[destination.w]\nkind = "webhook"\nurl = "http://h/"\nidentifiers = true',
            "destination.w: identifiers needs a url of https",
        ),
        (
            '[destination.w]\nkind = "webhook"\nurl = "https://me:topsecret@h/"',
            "destination.w: url must not contain a user",
        ),
        (
            '[destination.w]\nkind = "webhook"\nurl = "https://h/"\nsecret_file = "none"',
            "destination.w: secret_file: the file cannot be read",
        ),
    ],
)
def test_values_that_do_not_fit_are_said_with_their_destination(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "destinations.toml"
    file.write_text(text)
    with pytest.raises(SetupRefused) as refused:
        destinations(Settings(send_destinations=file, send_pacs="PACS@h:104"))
    assert refused.value.code is Code.DESTINATIONS_INVALID
    assert said in refused.value.reason
    assert "topsecret" not in refused.value.reason


def test_the_example_of_the_integrator_s_page_is_a_file_of_every_kind() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "integrator.md").read_text("utf-8")
    (example,) = re.findall(r"```toml\n(# destinations\.toml\n.*?)```", page, re.DOTALL)
    entries = parse_destinations(example)
    kinds = get_args(get_args(Entry)[0])
    assert {type(entry) for entry in entries.values()} == set(kinds)
    research = terms_of(entries["research"])
    assert (research.by_priority, research.longest_wait_s, research.quiet is None) == (False, 3600, False)
    assert terms_of(entries["call-back"]).rules.tiers == ("suspicious",)
