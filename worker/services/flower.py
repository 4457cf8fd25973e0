"""How Flower is run: to look, behind a sign-in, and with no argument of a task in any list.

What it has heard of the latest tasks is kept in the home: Flower reads it when it starts, and saves it while it runs
and when it ends. Killed, it forgets what it heard since it saved last; the ledger has that.

Two of Flower's addresses need no sign-in, and no option changes that: ``/healthcheck``, and ``/metrics`` for
Prometheus, which counts tasks by their name and worker.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from worker.errors import Code, SetupRefused
from worker.extras import is_installed
from worker.services.home import Home
from worker.settings import Settings

OFFLINE_SECONDS = 3600
"""A worker that went away is shown for this long, so that a person sees it."""

TASKS_KEPT = 10_000
"""Tasks of which Flower knows, the latest; a study is two. Saved, they are 3 MB, and written in a fifth of a second."""

SAVE_MS = 10_000
"""How often the history is saved, in milliseconds."""

COLUMNS = ("name", "uuid", "state", "exception", "result", "retries", "received", "started", "runtime", "worker")
"""Of a task's result and exception there are words of this software alone: a state, an id of the ledger, a code."""

OPENID_HANDLER = "worker.services.flower_openid.OpenIdLoginHandler"
_EMAIL = re.compile(r"[^@|*,\s]+@[^@|*,\s]+")


@dataclass(frozen=True, slots=True)
class FlowerCommand:
    """What to run; who may sign in is in ``env`` and not in ``argv``, which every user of the machine can list."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)


def flower_is_installed() -> bool:
    """Whether this installation has Flower."""
    return is_installed("flower")


def flower_url(settings: Settings, port: int | None = None) -> str:
    """Return the address of Flower's first page."""
    return f"http://{settings.flower_address}:{settings.flower_port if port is None else port}"


def healthcheck_url(settings: Settings, port: int | None = None) -> str:
    """Return the address that answers ``OK``, without a password, when Flower serves."""
    return f"{flower_url(settings, port)}/healthcheck"


def flower_command(settings: Settings, port: int | None = None) -> FlowerCommand:
    """Return the command for Flower, on ``port`` if given and else on the one of the settings.

    Raises:
        SetupRefused: ``setting_invalid``, without Flower, without a password or a whole OpenID client, without a Redis
            URL, without a home to keep its history in, or with users or a password that Flower would read otherwise.
    """
    if not flower_is_installed():
        raise SetupRefused(Code.SETTING_INVALID, "Flower is not installed: pip install 'dlr-worker[flower]'")
    sign_in = _by_password(settings) if settings.flower_oidc_issuer is None else _by_openid(settings)
    settings.require_redis_url()
    options = {
        "address": settings.flower_address,
        "port": settings.flower_port if port is None else port,
        "conf": "/dev/null",  # else a flowerconfig.py in the current folder is executed
        "read_only": True,
        "persistent": True,
        "db": Home(settings.home).folder("flower") / "history",
        "max_tasks": TASKS_KEPT,
        "state_save_interval": SAVE_MS,
        "tasks_columns": ",".join(COLUMNS),
        "purge_offline_workers": OFFLINE_SECONDS,
    }
    # -P: modules come from the installation and not from the current folder.
    celery = (sys.executable, "-P", "-m", "celery", "-A", "worker.app", "flower")
    return FlowerCommand(
        argv=(*celery, *(f"--{name}={value}" for name, value in options.items())),
        env={**sign_in, "FLOWER_UNAUTHENTICATED_API": "false"},
    )


def _by_password(settings: Settings) -> dict[str, str]:
    if settings.flower_password is None or not settings.flower_password.get_secret_value():
        raise SetupRefused(Code.SETTING_INVALID, "DLR_FLOWER_PASSWORD is not set: Flower does not start without it")
    password = settings.flower_password.get_secret_value()
    # Flower reads a list, separated by commas, of user:password: each part of a password with a comma would open it.
    if "," in password or "," in settings.flower_user or ":" in settings.flower_user:
        reason = "DLR_FLOWER_USER must not contain a comma or a colon, nor DLR_FLOWER_PASSWORD a comma"
        raise SetupRefused(Code.SETTING_INVALID, reason)
    return {"FLOWER_AUTH": "", "FLOWER_AUTH_PROVIDER": "", "FLOWER_BASIC_AUTH": f"{settings.flower_user}:{password}"}


def _by_openid(settings: Settings) -> dict[str, str]:
    emails = [email.strip() for email in settings.flower_oidc_emails.split(",")]
    # Flower takes an asterisk for any name, and a bar for "or".
    if not all(_EMAIL.fullmatch(email) for email in emails):
        reason = "DLR_FLOWER_OIDC_EMAILS has to name e-mail addresses, separated by commas, without asterisks or bars"
        raise SetupRefused(Code.SETTING_INVALID, reason)
    secret = settings.flower_oidc_client_secret
    given = {
        "FLOWER_OAUTH2_KEY": settings.flower_oidc_client_id,
        "FLOWER_OAUTH2_SECRET": None if secret is None else secret.get_secret_value(),
        "FLOWER_OAUTH2_REDIRECT_URI": settings.flower_oidc_redirect_url,
    }
    if not all(given.values()):
        reason = "DLR_FLOWER_OIDC_ISSUER needs DLR_FLOWER_OIDC_CLIENT_ID, _CLIENT_SECRET and _REDIRECT_URL as well"
        raise SetupRefused(Code.SETTING_INVALID, reason)
    issuer = str(settings.flower_oidc_issuer).rstrip("/")
    return {name: str(value) for name, value in given.items()} | {
        "FLOWER_AUTH": "|".join(emails),
        "FLOWER_AUTH_PROVIDER": OPENID_HANDLER,
        "FLOWER_OAUTH2_OKTA_BASE_URL": issuer,
    }
