from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.worker.rescoring.hospital import Hospital, Machines, opened, started


@pytest.fixture(scope="session")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with started(tmp_path_factory.mktemp("machines")) as machines:
        yield machines


@pytest.fixture
def hospital(database: Database, tmp_path: Path, machines: Machines) -> Iterator[Hospital]:
    with opened(database, tmp_path, machines) as made:
        yield made
