import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock
from uuid import UUID

import pytest
from argon2 import PasswordHasher
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from db.schema.roles import WEB
from db.session import make_engine
from tests.conftest import Database
from tests.db.samples import ended, lesion, scored, scored_image, study, writing
from worker.demo.dicom import Header, write_ultrasound
from worker.imaging.decoder_pool import DecoderPool
from worker.phantom.phantom import Phantom, phantom
from worker.settings import Settings, get_settings
from worker.web import accounts
from worker.web.accounts import Accounts, WebRole
from worker.web.application import make_application
from worker.web.serve import make_site
from worker.web.sessions import PageKey
from worker.web.site import Site

PASSWORD = "correct horse battery"
HOST = "127.0.0.1"


AS_SHIPPED = accounts._HASHER
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """By design a hash takes a fifth of a second; nearly every test here signs somebody in."""
    monkeypatch.setattr(accounts, "_HASHER", CHEAP)
    accounts._nobodys_hash.cache_clear()
    yield
    accounts._nobodys_hash.cache_clear()


@pytest.fixture(scope="session")
def accounts_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader, a radiologist and an administrator."""
    file = tmp_path_factory.mktemp("accounts") / "accounts.json"
    accounts_of = {"reader": WebRole.READER, "bea": WebRole.RADIOLOGIST, "carl": WebRole.RADIOLOGIST}
    for name, role in (accounts_of | {"admin": WebRole.ADMINISTRATOR}).items():
        with mock.patch.object(accounts, "_HASHER", CHEAP):
            Accounts(file).put(name, role, PASSWORD)
    return file


@pytest.fixture
def sessions(database: Database) -> Iterator[sessionmaker[Session]]:
    """Sessions of dlr_writer, on a ledger that knows both models."""
    with writing(database) as sessions:
        yield sessions


@pytest.fixture
def settings(database: Database, accounts_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    file = tmp_path / "accounts.json"
    file.write_bytes(accounts_file.read_bytes())
    monkeypatch.setenv("DLR_WEB_ACCOUNTS", str(file))
    monkeypatch.setenv("DLR_WEB_DATABASE_URL", database.web_url)
    get_settings.cache_clear()
    made = get_settings()
    made.storage_root.mkdir(parents=True)
    return made


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecoderPool]:
    """Decoders start when a first picture is asked for, and know nothing of a site."""
    made = get_settings()
    pool = DecoderPool(made.limits, 1, made.decode_timeout_s)
    yield pool
    pool.close()


@pytest.fixture
def site(settings: Settings, decoders: DecoderPool) -> Iterator[Site]:
    engine = make_engine(settings.require_web_database_url(), role=WEB)
    site = make_site(settings, engine, PageKey())
    yield replace(site, pictures=replace(site.pictures, decoders=decoders))
    engine.dispose()


def client_of(site: Site) -> TestClient:
    """Make a browser that follows no redirects."""
    application = make_application(site, [HOST])
    return TestClient(application, f"http://{HOST}", follow_redirects=False, raise_server_exceptions=False)


@pytest.fixture
def stranger(site: Site) -> TestClient:
    return client_of(site)


@pytest.fixture
def sign_in(site: Site) -> Callable[..., TestClient]:
    """Give a function that makes a browser in which somebody has signed in."""

    def make(name: str = "reader") -> TestClient:
        client = client_of(site)
        answer = client.post(
            "/sign-in", data={"name": name, "password": PASSWORD, "token": token_in(client, "/sign-in")}
        )
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        return client

    return make


def search(client: TestClient, part: str) -> str:
    """Search as the form does, and return the page that is shown."""
    form = {"accession_number": part, "token": token_in(client, "/")}
    answer = client.post("/search", data=form)
    assert answer.status_code == 303
    assert part not in answer.headers["location"]
    return client.get(answer.headers["location"]).text


def token_in(client: TestClient, page: str) -> str:
    """Return the hidden field of a page's forms."""
    found = re.search(r'name="token" value="(\w+)"', client.get(page).text)
    assert found
    return found[1]


@dataclass(frozen=True)
class Kept:
    """A study in the ledger whose image is in the storage."""

    study_id: UUID
    path: Path
    phantom: Phantom
    header: Header
    sop: str


@pytest.fixture
def kept(settings: Settings, sessions: sessionmaker[Session]) -> Kept:
    header = Header(generate_uid(), "Roe^Mary", "MRN4711", "ACC4711", "20261123", "19790517")
    drawn = phantom(3, malignant=True, rows=192, columns=256)
    path = settings.storage_root / "roe-mary.dcm"
    sop = write_ultrasound(path, header, [drawn.image], ExplicitVRLittleEndian)
    box = (drawn.roi.x, drawn.roi.y, drawn.roi.width, drawn.roi.height)
    record = study(
        header.study_instance_uid,
        "kept",
        accession_number=header.accession_number,
        job={"images": {"kind": "files", "paths": [path.name]}},
        lesions=(lesion("Mary's left", sop_instance_uid=sop, roi=box),),
    )
    with sessions.begin() as session:
        recorded = ended(session, record, replace(scored("Mary's left"), images=(scored_image(region=box),)))
    return Kept(recorded.study_id, path, drawn, header, sop)
