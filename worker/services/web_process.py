"""How `dlr up` runs the worklist page: as a process of its own, with a first account where there is none."""

import sys
from pathlib import Path

from worker.extras import is_installed
from worker.services.home import Home
from worker.settings import Settings

SECRET = "web"  # noqa: S105  the secret's name
FIRST_NAME = "admin"


def web_is_installed() -> bool:
    """Whether this installation has what the worklist page needs."""
    return is_installed("web")


def web_command(settings: Settings, port: int | None) -> tuple[str, ...]:
    """Return the command for the page, on ``port`` if given and else on the one of the settings.

    Raises:
        SetupRefused: ``setting_invalid``, as `worker.web.serve.check` says.
    """
    from worker.web.serve import check

    check(settings)
    return (sys.executable, "-P", "-m", "worker.cli.main", "web", *([] if port is None else ["--port", str(port)]))


def first_password_file(home: Home, settings: Settings) -> Path | None:
    """Make the account ``admin`` with a generated password, where nobody may sign in yet.

    Returns:
        The file with the password, as long as it is that of this account; else ``None``.
    """
    from worker.web.accounts import Accounts, WebRole, is_right

    accounts = Accounts(settings.web_accounts)
    if not accounts.list():
        accounts.put(FIRST_NAME, WebRole.ADMINISTRATOR, home.secret(SECRET))
    file = home.secret_file(SECRET)
    known = file.exists() and is_right(accounts.find(FIRST_NAME), home.secret(SECRET))
    return file if known else None


def web_url(settings: Settings, port: int | None = None) -> str:
    """Return the address of the page."""
    from worker.web.serve import page_url

    return page_url(settings, port)
