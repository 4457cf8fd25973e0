"""The lock: what it holds, what is installed from it, the bill of materials that is made of it, and the audit."""

import csv
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy import audit, locked, sbom
from tests.test_compose import ROOT
from tests.test_install_torch import answering, serving
from tests.waiting import patience

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LOCK: dict[str, Any] = tomllib.loads(locked.LOCK.read_text("utf-8"))
OURS = next(one for one in LOCK["package"] if one["name"] == PROJECT["name"])
SETS = [[extra] for extra in ("all", "dev", "bench", "audit")] + list(sbom.images().values())
sets = pytest.mark.parametrize("extras", SETS, ids="-".join)


def names(requirements: str) -> set[str]:
    return {re.split("[=; ]", one)[0] for one in locked.entries(requirements)}


def asked_of(requirement: str) -> tuple[str, frozenset[str]]:
    """A requirement of pyproject.toml as the lock has it: the name, and its bounds in any order."""
    match = re.fullmatch(r"([\w.-]+)(?:\[[\w,-]+])?(.*)", requirement)
    assert match is not None
    return re.sub(r"[-_.]+", "-", match[1]).lower(), frozenset(match[2].split(",")) - {""}


def test_the_lock_is_of_what_pyproject_toml_asks_for() -> None:
    """It fails when a dependency was added or changed and `make update` was not run."""
    in_lock = {
        (one["name"], frozenset(one.get("specifier", "").split(",")) - {""})
        for one in OURS["metadata"]["requires-dist"]
    }
    extras = [one for extra in PROJECT["optional-dependencies"].values() for one in extra]
    assert in_lock == {asked_of(one) for one in [*PROJECT["dependencies"], *extras]}
    assert set(OURS["metadata"]["provides-extras"]) == set(PROJECT["optional-dependencies"])


def test_the_lock_prefers_no_index() -> None:
    addresses = re.findall(r"https?://[^/\"]+", locked.LOCK.read_text("utf-8") + locked.TOOLS.read_text("utf-8"))
    assert set(addresses) == {locked.NO_ADDRESS}


def test_an_address_is_taken_out_and_the_file_s_name_and_hash_stay() -> None:
    before = (
        'source = { registry = "https://index.example/simple" }\n'
        '    { url = "https://files.example/packages/aa/bb/x-1.0-py3-none-any.whl", hash = "sha256:00", size = 12, '
        'upload-time = "2026-10-22T03:24:35.93Z" },\n'
    )
    after = locked.without_addresses(before)
    assert after == (
        'source = { registry = "https://index.invalid" }\n'
        '    { url = "https://index.invalid/x-1.0-py3-none-any.whl", hash = "sha256:00" },\n'
    )
    assert locked.without_addresses(after) == after


@sets
def test_each_distribution_is_pinned_and_has_a_hash(extras: list[str]) -> None:
    exported = locked.export(extras)
    found = list(locked.entries(exported))
    assert "".join(found) == exported
    assert len(found) > 20
    for one in found:
        assert re.match(r"[a-z0-9-]+==[\w.]+ ", one), one
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", one), one


def test_what_builds_the_product_is_pinned_and_is_the_lock_s() -> None:
    in_lock = {f"{one['name']}=={one['version']}" for one in LOCK["package"] if one["name"] != PROJECT["name"]}
    tools = {one.split(" ")[0] for one in locked.entries(locked.TOOLS.read_text("utf-8").split("\n", 1)[1])}
    assert tools <= in_lock
    assert {one.partition("==")[0] for one in tools} >= {"uv", "hatchling", "editables"}


@pytest.mark.parametrize(("version", "of_another_index"), [("2.14.1+cpu", True), ("2.14.1", False), (None, False)])
def test_a_torch_of_another_index_stays_with_what_it_brought_and_another_is_the_lock_s(
    version: str | None, of_another_index: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def installed(name: str) -> str:
        if version is None:
            raise locked.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(locked.metadata, "version", installed)
    exported = locked.export(["all"])
    left_out = names(exported) - names(locked.to_install(exported))
    of_cuda = {name for name in names(exported) if name.startswith(("nvidia-", "cuda-"))}
    assert len(of_cuda) > 5
    assert left_out == ({"torch", "torchvision", "triton", *of_cuda} if of_another_index else set())


def test_an_image_has_torch_where_it_scores_and_nowhere_else() -> None:
    found = {image: names(locked.export(extras)) for image, extras in sbom.images().items()}
    assert found.keys() == {"client", "worker"}
    assert "torch" in found["worker"]
    assert not {name for name in found["client"] if name.startswith(("torch", "nvidia-"))}


def test_a_file_with_another_hash_is_not_installed(tmp_path: Path) -> None:
    from tests.test_install_torch import write_wheel

    write_wheel(tmp_path, "torch", "2.14.1")
    [wheel] = (tmp_path / "torch").glob("*.whl")
    (tmp_path / "requirements.txt").write_text(f"torch==2.14.1 --hash=sha256:{'0' * 64}\n")
    command = [*locked.PIP, "download", "--no-deps", "--no-index", "--find-links", str(wheel.parent), "-d",
               str(tmp_path / "got"), "--require-hashes", "-r", str(tmp_path / "requirements.txt")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr


@pytest.mark.parametrize("words", [[], ["install"], ["vanish"]], ids=["nothing", "no extra", "no such word"])
def test_wrong_usage_is_told(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert locked.main(words) == 2
    assert "deploy/locked.py install all" in capsys.readouterr().err


# --- the bill of materials


@pytest.fixture(scope="module")
def bills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sbom")
    assert sbom.main([str(folder)]) == 0
    return folder


@pytest.mark.parametrize("image", ["client", "worker"])
def test_each_distribution_of_an_image_is_in_its_bill_with_a_hash_and_a_licence(bills: Path, image: str) -> None:
    text = (bills / f"{image}.cdx.json").read_text("utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) is None
    components = json.loads(text)["components"]
    pinned = {one.split(" ")[0] for one in locked.entries(locked.export(sbom.images()[image]))}
    assert {f"{one['name']}=={one['version']}" for one in components} == pinned
    assert all(reference["hashes"] for one in components for reference in one["externalReferences"])
    assert locked.NO_ADDRESS not in text
    with (bills / f"{image}.licences.csv").open(encoding="utf-8") as file:
        rows = {f"{row['distribution']}=={row['version']}": row["licence"] for row in csv.DictReader(file)}
    assert rows.keys() == pinned
    assert all(rows.values())


def test_a_licence_is_what_a_distribution_says_of_itself() -> None:
    assert sbom.licence_of("dlr-worker") == "Apache-2.0"
    assert sbom.licence_of("celery") == "BSD-3-Clause"
    assert sbom.licence_of("no-such-distribution") is None


# --- the audit


@pytest.mark.parametrize(
    ("handler", "reason"),
    [(lambda: answering("{}", 503), "status 501"), (None, "refused")],
    ids=["an index that refuses", "nobody there"],
)
def test_an_index_that_does_not_answer_is_no_finding_and_is_told(
    handler: Callable[[], Callable[..., BaseHTTPRequestHandler]] | None,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(audit, "install", lambda _: pytest.fail("installed"))
    with serving(handler() if handler is not None else answering("")) as address:
        if handler is not None:
            monkeypatch.setattr(audit, "reason_not_to", lambda why=audit.reason_not_to: why(address, patience(5)))
            assert audit.main() == 0
    if handler is None:
        monkeypatch.setattr(audit, "reason_not_to", lambda why=audit.reason_not_to: why(address, patience(5)))
        assert audit.main() == 0
    said = capsys.readouterr().out
    assert said.startswith("audit: NOT RUN: ")
    assert reason in said


def test_where_an_index_answers_what_is_found_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run(command: list[str], check: bool) -> "subprocess.CompletedProcess[str]":
        asked.append(command)
        assert "celery==" in Path(command[-1]).read_text("utf-8")
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(audit, "reason_not_to", lambda: None)
    monkeypatch.setattr(audit, "install", lambda extras: asked.append(extras))
    monkeypatch.setattr(audit, "export", lambda _: "celery==5.7.0\n")
    monkeypatch.setattr(audit.subprocess, "run", run)
    assert audit.main() == 1
    assert asked[0] == ["dev", "audit"]
    assert asked[1][:3] == [sys.executable, "-m", "pip_audit"]
