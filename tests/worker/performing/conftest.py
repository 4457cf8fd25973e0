"""A PACS with a study and its report, and a manager of work items."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian
from sqlalchemy.orm import Session, sessionmaker

from tests.conftest import Database
from tests.db.samples import writing
from tests.pacs_servers import PacsPeer, orthanc
from tests.worker.intake.test_fetching import study_files
from tests.worker.performing.ups_manager import UpsManager, managing
from worker.network.port import free_port


@pytest.fixture(scope="session")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PacsPeer]:
    folder = tmp_path_factory.mktemp("pacs")
    files, _ = study_files(folder / "files", ExplicitVRLittleEndian)
    with orthanc(folder / "orthanc") as peer:
        peer.store(*files)
        yield peer


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[UpsManager]:
    with managing(UpsManager(free_port(tmp_path / "port"))) as manager:
        yield manager


@pytest.fixture
def sessions(database: Database) -> Iterator[sessionmaker[Session]]:
    with writing(database) as sessions:
        yield sessions
