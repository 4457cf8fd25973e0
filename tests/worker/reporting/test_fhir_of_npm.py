"""FHIR R4, held against npm's `fhir`: definitions and code that have nothing to do with those of fhir.resources."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.worker.reporting.samples import in_several_images, mixed, source_of
from worker.reporting.fhir import fhir_bundle
from worker.reporting.fhir_transaction import fhir_transaction
from worker.reporting.result import StudyResult
from worker.reporting.source_study import Source

pytestmark = pytest.mark.slow

VALIDATOR = Path(__file__).parent / "fhir_of_npm"
NO_REGISTRY = re.compile(r"code (ENOTFOUND|EAI_AGAIN|ECONN\w+|ETIMEDOUT|ERR_SOCKET_TIMEOUT|EIDLETIMEOUT|E403|E503)\b")
Faults = Callable[[Any], list[str]]


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Faults:
    """What is wrong with a resource; with what the lock file names."""
    if shutil.which("npm") is None:
        if os.environ.get("DLR_TEST_TOOLS") == "required":
            pytest.fail("Node.js is not installed")
        pytest.skip("Node.js is not installed")
    folder = tmp_path_factory.mktemp("npm")
    for name in ("package.json", "package-lock.json", "validate.mjs"):
        shutil.copy(VALIDATOR / name, folder)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=20000"]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=120)
    if NO_REGISTRY.search(done.stderr):
        pytest.skip("npm's registry cannot be reached from here")
    done.check_returncode()

    def found(resource: Any) -> list[str]:
        said = subprocess.run(
            ["node", "validate.mjs"],
            cwd=folder,
            input=json.dumps(resource),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return [str(fault) for fault in json.loads(said.stdout)]

    return found


def transaction(result: StudyResult, source: Source) -> str:
    return fhir_transaction(result, source, "urn:oid:1.2.276.0.76.4")


@pytest.mark.parametrize("made", [fhir_bundle, transaction], ids=["what is exported", "what a server is sent"])
@pytest.mark.parametrize("study", [mixed, in_several_images], ids=["several lesions", "several images of a lesion"])
def test_a_bundle_is_valid(
    faults: Faults,
    made: Callable[[StudyResult, Source], str],
    study: Callable[[Path], StudyResult],
    tmp_path: Path,
) -> None:
    result = study(tmp_path)
    assert faults(json.loads(made(result, source_of(result, tmp_path)))) == []


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("DiagnosticReport", "status", "almost"),
        ("DiagnosticReport", "result", {"reference": "Observation/1"}),
        ("Observation", "code", None),
        ("Observation", "birads", "4A"),
    ],
    ids=["a status that there is none of", "one where a list has to be", "no code", "a name that there is none of"],
)
def test_what_is_not_fhir_is_found(faults: Faults, kind: str, name: str, value: Any, tmp_path: Path) -> None:
    result = mixed(tmp_path)
    bundle = json.loads(transaction(result, source_of(result, tmp_path)))
    changed = next(entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == kind)
    changed.pop(name, None)
    if value is not None:
        changed[name] = value
    [fault] = faults(bundle)
    assert f"{kind}.{name}" in fault
