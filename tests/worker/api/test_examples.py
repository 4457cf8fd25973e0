"""The clients that the integrator's page shows, as they stand there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_docs import INTEGRATOR, blocks
from tests.worker.api.running import served
from tests.worker.api.test_jobs import a_job
from worker.api.service import Service
from worker.api.tokens import Scope, Tokens

CURL, PYTHON = (
    next(block for block in blocks(INTEGRATOR, kind) if "API_URL" in block and "job.json" in block)
    for kind in ("sh", "python")
)


@pytest.mark.parametrize("command", [["bash", "-euc", CURL], [sys.executable, "-c", PYTHON]], ids=["curl", "python"])
def test_an_example_pushes_a_job_and_asks_what_became_of_it(
    service: Service, tmp_path: Path, command: list[str]
) -> None:
    text = Tokens(service.settings.api_tokens).create("example", [Scope.JOBS_WRITE, Scope.STUDIES_READ], None)
    (tmp_path / "job.json").write_text(json.dumps(a_job()))
    with served(service) as address:
        environment = {**os.environ, "API_URL": address, "API_TOKEN": text}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
    assert done.returncode == 0, done.stderr
    assert "queued" in done.stdout
