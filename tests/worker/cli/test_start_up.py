"""What a command imports: whoever types it, and each cron job, waits for that."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.commands import dlr
from tests.conftest import Database
from worker.demo.dicom import Header, write_ultrasound
from worker.phantom.phantom import phantom

HEAVY = {
    "alembic", "argon2", "fhir", "flower", "highdicom", "hl7apy", "jinja2", "matplotlib", "openpyxl", "openvino",
    "pyarrow", "pynetdicom", "safetensors", "scipy", "sklearn", "starlette", "torch", "torchvision", "tornado",
    "uvicorn",
}  # fmt: skip
"""What some command needs for what it does, and none to be named, or to say how it is used."""

NOT_FOR_A_LIST = HEAVY | {"PIL", "celery", "kombu", "numpy", "psycopg2", "pydantic", "pydicom", "redis", "sqlalchemy"}
"""What the list of all commands does without."""

IMPORTED = """
import json, sys
from worker.cli.main import main
imported = {}
for words in json.loads(sys.argv[1]):
    sys.argv = ["dlr", *words]
    try:
        main()
    except SystemExit as ended:
        status = ended.code or 0
    imported[" ".join(words)] = [status, sorted({name.partition(".")[0] for name in sys.modules})]
sys.stderr.write("\\n" + json.dumps(imported))
"""


def imported_by(*commands: list[str]) -> dict[str, set[str]]:
    """The packages that an interpreter has after each of some commands, which it runs one after the other."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, json.dumps(commands)], capture_output=True, text=True, check=True
    )
    said: dict[str, tuple[int, list[str]]] = json.loads(done.stderr.splitlines()[-1])
    assert {words: status for words, (status, _) in said.items()} == dict.fromkeys(said, 0), done.stderr
    return {words: set(packages) for words, (_, packages) in said.items()}


def test_the_list_of_all_commands_imports_none_of_them() -> None:
    for words, packages in imported_by(["--version"], ["--help"]).items():
        assert packages & NOT_FOR_A_LIST == set(), words


def test_no_command_imports_what_is_heavy_to_say_how_it_is_used() -> None:
    for words, packages in imported_by(*([name, "--help"] for name in dlr().commands)).items():
        assert packages & HEAVY == set(), words


def test_studies_are_handed_in_listed_shown_and_followed_up_without_what_is_heavy(
    database: Database, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLR_DATABASE_URL", database.writer_url)
    monkeypatch.setenv("DLR_REDIS_URL", redis_url)
    header = Header(generate_uid(), "", "", "", "", patient_age="050Y")
    write_ultrasound(tmp_path / "a.dcm", header, [phantom(1, malignant=False).image], ExplicitVRLittleEndian)
    (tmp_path / "lesions.json").write_text(json.dumps([{"birads": "4A"}]))
    submitted = ["submit", str(tmp_path / "a.dcm"), "--lesions", str(tmp_path / "lesions.json")]
    (tmp_path / "policy.json").write_text(json.dumps({"schema_version": 1, "DLR_BM": {"threshold": 0.5}}))
    of_pathology = (["monitor"], ["pathology", "list"], ["replay", "--policy", str(tmp_path / "policy.json")])
    by_command = imported_by(
        ["worklist"],
        ["failed", "list"],
        ["models", "list"],
        *of_pathology,
        submitted,
        ["show", header.study_instance_uid],
    )
    for words, packages in by_command.items():
        assert packages & HEAVY == set(), words
    assert by_command["worklist"] & {"celery", "pydicom", "numpy", "redis"} == set()
