"""The example in Node.js, with the Celery client of npm: what it pushes ends as a row."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Service
from tests.test_compose import ROOT
from tests.worker.imaging.dicom_files import SOP_UID, STUDY_UID, picture, write

EXAMPLE = ROOT / "examples" / "node"


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, with what its lock file names."""
    if shutil.which("npm") is None:
        pytest.skip("Node.js is not installed")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "push.mjs"):
        shutil.copy(EXAMPLE / name, folder)
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True, capture_output=True, timeout=120)
    return folder


def test_the_documentation_shows_the_example_as_it_is() -> None:
    assert f"```js\n{(EXAMPLE / 'push.mjs').read_text()}```" in (ROOT / "docs" / "integrator.md").read_text()


def push(example: Path, url: str, job: dict[str, Any]) -> "subprocess.CompletedProcess[str]":
    (example / "job.json").write_text(json.dumps(job))
    return subprocess.run(
        ["node", "push.mjs", "job.json"],
        cwd=example,
        env={**os.environ, "REDIS_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_job_that_node_pushes_ends_as_a_row(
    service: Service, example: Path, job_for: Callable[..., dict[str, Any]]
) -> None:
    uid = f"{STUDY_UID}.72"
    write(service.storage_root / "node.dcm", picture(), StudyInstanceUID=uid)
    done = push(example, service.services.settings.require_redis_url(), job_for(uid, SOP_UID, "node.dcm"))
    assert done.returncode == 0, done.stderr
    study = service.ended(uid)
    assert (study.state, study.source) == ("done", "queue")


def test_a_server_that_refuses_the_sender_is_an_error_of_the_program(service: Service, example: Path) -> None:
    url = service.services.settings.require_redis_url().replace("dlr:", "stranger:")
    assert push(example, url, {}).returncode != 0
