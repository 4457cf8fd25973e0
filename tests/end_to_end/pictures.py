"""The pictures of the worklist page and of Flower in docs/images: ``python -m tests.end_to_end.pictures``.

They show the demo's studies. It needs the demo models (``dlr demo-models``) and Chromium, and leaves nothing behind but
the pictures.
"""

import atexit
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Error, Page

from tests import shared
from tests.end_to_end.browser import chromium, chromium_path, context_of, sign_in
from tests.waiting import patience, until
from worker.demo.run import demo_service, push, take_models, wait_until_ended
from worker.inference.registry import Registry
from worker.services.running_services import Services
from worker.settings import get_settings, isolated
from worker.training.config import DEMO_SEED
from worker.web.accounts import Accounts, WebRole

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
SCALE = 1.5


def main(target: Path = IMAGES) -> None:
    """Run the demo's studies through the service and take the pictures."""
    with scored_by_demo(lambda services: len(push(services, DEMO_SEED))) as (executable, services):
        take(executable, f"http://127.0.0.1:{services.web_port}", target)
        take_flower(executable, services, target)


@contextmanager
def scored_by_demo(pushed: Callable[[Services], int]) -> Iterator[tuple[str, Services]]:
    """Run the demo's service with the page until what ``pushed`` has pushed is scored; give Chromium's path and it.

    Args:
        pushed: pushes studies, and says how many.
    """
    executable, models = chromium_path(), Registry(get_settings().models_dir)
    if executable is None:
        sys.exit("Chromium is not installed")
    with TemporaryDirectory() as folder, isolated():
        home = Path(folder)
        os.environ["DLR_WEB_PORT"] = os.environ["DLR_FLOWER_PORT"] = "0"
        take_models(models, Registry(home / "models"))
        with demo_service(home, print) as (services, supervisor):
            supervisor.start(services.web())
            wait_until_ended(services, supervisor, pushed(services), lambda _: None)
            yield executable, services


def take(executable: str, url: str, target: Path) -> None:
    """Take the pictures of a running page, as a radiologist sees it."""
    with chromium(executable) as browser:
        page = context_of(browser, device_scale_factor=SCALE, color_scheme="dark").new_page()
        open_worklist(page, url)
        page.screenshot(path=target / "worklist.png")
        page.locator("tr.study.upgraded a").first.click()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=target / "study.png")


def open_worklist(page: Page, url: str) -> None:
    """Sign in as a radiologist, once the page serves."""
    page.set_default_timeout(1000 * patience(60))
    password = "of the pictures alone"
    Accounts(get_settings().web_accounts).put("dr-roe", WebRole.RADIOLOGIST, password)
    until(lambda: _serves(page, url))
    sign_in(page, url, "dr-roe", password)


def take_flower(executable: str, services: Services, target: Path) -> None:
    """Take the picture of Flower's list of tasks, the failures among them."""
    settings = get_settings()
    assert settings.flower_password is not None
    known = {"username": settings.flower_user, "password": settings.flower_password.get_secret_value()}
    with chromium(executable) as browser:
        page = context_of(browser, device_scale_factor=SCALE, http_credentials=known).new_page()
        page.goto(f"http://127.0.0.1:{services.flower_port}/tasks")
        page.locator("#tasks-table").get_by_text("FAILURE").first.wait_for()
        page.screenshot(path=target / "flower.png")


def _serves(page: Page, url: str) -> bool:
    try:
        page.goto(f"{url}/sign-in")
    except Error:
        return False
    return True


if __name__ == "__main__":
    shared.begin()
    atexit.register(shared.end)
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
