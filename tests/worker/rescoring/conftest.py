from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.worker.rescoring.hospital import Hospital, opened


@pytest.fixture
def hospital(database: Database, tmp_path: Path) -> Iterator[Hospital]:
    with opened(database, tmp_path) as made:
        yield made
