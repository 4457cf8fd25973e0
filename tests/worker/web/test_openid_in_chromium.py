"""A link of the RIS, in a real browser: through the hospital's sign-in service to the study, and out again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from oidc_provider_mock import User, run_server_in_thread
from playwright.sync_api import Page, expect
from sqlalchemy.orm import Session, sessionmaker

from tests.conftest import Database
from tests.db.samples import ended, scored, study
from tests.end_to_end.browser import chromium, context_of, require_chromium, violations
from tests.waiting import patience
from tests.worker.web.test_serve import running

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning:authlib")]

ANNA = User(sub="anna", claims={"preferred_username": "Anna", "groups": ["radiology"]})


@pytest.fixture(scope="module")
def ris() -> Iterator[str]:
    """The address of the provider, which is another site than the page, as the RIS is."""
    with run_server_in_thread(user_claims=[ANNA]) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture
def window() -> Iterator[Page]:
    with chromium(require_chromium()) as browser:
        expect.set_options(timeout=patience(30) * 1000)
        yield context_of(browser).new_page()


def test_a_link_of_the_ris_needs_one_sign_in_at_the_hospital_s_service_and_no_second_one(
    window: Page, ris: str, tmp_path: Path, database: Database, sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        ended(session, study(accession_number="ACC4711"), scored())
    settings = {
        "DLR_WEB_OIDC_ISSUER": ris,
        "DLR_WEB_OIDC_CLIENT_ID": "dlr-web",
        "DLR_WEB_OIDC_CLIENT_SECRET": "a secret of the client",
        "DLR_WEB_ROLES": "radiology=radiologist",
        "DLR_WEB_DATABASE_URL": database.web_url,
    }
    with running(tmp_path, tmp_path / "no-accounts.json", "http", **settings) as page:

        def follow_the_link() -> None:
            window.goto(ris)
            window.evaluate("address => { location.href = address }", f"{page.url}/open?accession=ACC4711")

        follow_the_link()
        window.get_by_role("button", name="anna").click()
        expect(window.get_by_role("heading", name="ACC4711")).to_be_visible()
        assert "/studies/" in window.url
        assert "ACC4711" not in window.url
        expect(window.get_by_text("Anna")).to_be_visible()

        follow_the_link()
        expect(window.get_by_role("heading", name="ACC4711")).to_be_visible()

        window.get_by_role("button", name="Sign out").click()
        window.get_by_role("button", name="End session").click()
        window.wait_for_url(f"{page.url}/signed-out")
        expect(window.get_by_role("link", name="Sign in with your hospital account")).to_be_visible()
        expect(window.get_by_label("Password")).to_have_count(0)
        assert violations(window) == []
        follow_the_link()
        expect(window.get_by_role("button", name="anna")).to_be_visible()
