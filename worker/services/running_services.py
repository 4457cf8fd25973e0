"""The servers of an installation, running: its own where the settings name none."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis.exceptions import RedisError

from db.errors import RoleRefused
from db.migrate import upgrade
from db.schema.roles import OWNER, READER, SHADOW, WEB, WRITER
from db.session import make_engine, session_factory
from worker.broker.abilities import abilities_of
from worker.broker.connections import connect
from worker.broker.durability import durability_of
from worker.errors import Code, SetupRefused
from worker.network.port import free_port, is_free, require_free
from worker.outages.redis_answers import reason_of
from worker.scoring.reading_policy import complete_places
from worker.services.embedded_postgres import EmbeddedPostgres
from worker.services.embedded_redis import EmbeddedRedis
from worker.services.flower import flower_command, flower_is_installed
from worker.services.home import Home
from worker.services.supervisor import Child
from worker.services.web_process import first_password_file, web_command, web_is_installed
from worker.settings import Settings, default_home, get_settings

FLOWER_SECRET = "flower"  # noqa: S105  the secret's name


@dataclass(frozen=True, slots=True)
class Services:
    """What runs. ``settings`` say where; ``environment`` makes another process on this machine find the same."""

    home: Home
    settings: Settings
    environment: Mapping[str, str]
    postgres: EmbeddedPostgres | None
    redis: EmbeddedRedis | None
    flower_port: int | None
    """None: Flower is not installed."""
    flower_password_file: Path | None
    """None: the password is set by DLR_FLOWER_PASSWORD."""
    web_port: int | None
    """None: the worklist page is not installed, or DLR_WEB_DATABASE_URL is not set for a database of your own."""
    web_password_file: Path | None
    """Of the account that was made up; None: the accounts are your own."""

    def worker(self, queue: str) -> Child:
        """Return the worker of ``queue``: ``intake`` or ``inference``."""
        argv = (sys.executable, "-P", "-m", "worker.cli.main", "worker", "--queue", queue)
        return Child(f"{queue}-worker", argv, self.environment)

    def flower(self) -> Child:
        """Return Flower.

        Raises:
            SetupRefused: ``setting_invalid``, when it is not installed or its settings are wrong.
        """
        command = flower_command(self.settings, self.flower_port)
        return Child("flower", command.argv, {**self.environment, **command.env})

    def web(self) -> Child:
        """Return the worklist page.

        Raises:
            SetupRefused: ``setting_invalid``, when its settings are wrong.
        """
        return Child("web", web_command(self.settings, self.web_port), self.environment)

    def shadow(self) -> Child:
        """Return the process in which shadows score."""
        return Child("shadow", (sys.executable, "-P", "-m", "worker.cli.main", "shadow"), self.environment)

    def exporter(self) -> Child:
        """Return the exporter of the service's metrics."""
        return Child("metrics", (sys.executable, "-P", "-m", "worker.cli.main", "metrics"), self.environment)

    def revive(self) -> str | None:
        """Start an embedded server that has ended again, and name it."""
        for name, server in (("PostgreSQL", self.postgres), ("Redis", self.redis)):
            if server is not None and not server.is_running:
                server.start()
                return name
        return None


@contextmanager
def running_services(home: Path | None = None, say: Callable[[str], None] = lambda _: None) -> Iterator[Services]:
    """Hold the home, start what the settings do not name, migrate the schema, announce it; undo all but the data.

    While it lasts, ``get_settings()`` in this process gives the running servers too.

    Args:
        home: the folder; None is ``DLR_HOME``. Another one becomes ``DLR_HOME`` of this process while it lasts.
        say: is given a sentence for each step that takes time.

    Raises:
        SetupRefused: ``already_running``, or ``setting_invalid`` with the reason.
        Unavailable: an embedded server does not come up.
        db.outages.DatabaseAway: a database of your own does not answer.
    """
    with ExitStack() as stack:
        kept = stack.enter_context(_as_home(home))
        stack.enter_context(kept.held())
        kept.withdraw()
        get_settings.cache_clear()
        stack.callback(get_settings.cache_clear)
        settings = get_settings()
        if settings.database_url is None and settings.database_owner_url is not None:
            reason = "DLR_DATABASE_OWNER_URL is set and DLR_DATABASE_URL is not: set both, or none"
            raise SetupRefused(Code.SETTING_INVALID, reason)
        if settings.redis_url is not None:
            _look_at_redis(settings, say)
        postgres = EmbeddedPostgres(kept) if settings.database_url is None else None
        redis = EmbeddedRedis(kept) if settings.redis_url is None else None
        for name, server in (("PostgreSQL", postgres), ("Redis", redis)):
            if server is not None:
                say(f"starting {name}")
                stack.callback(server.stop)
                server.start()
        flower_port = _port("flower", kept, settings, say) if flower_is_installed() else None
        has_page = web_is_installed() and (postgres is not None or settings.web_database_url is not None)
        web_port = _port("web", kept, settings, say) if has_page else None
        if settings.metrics_port is not None:
            require_free("DLR_EXPORTER_PORT", settings.exporter_port, settings.metrics_address)
        stack.callback(kept.withdraw)
        kept.announce(_announcement(kept, settings, postgres, redis, flower_port, web_port))
        password_file = kept.secret_file(FLOWER_SECRET) if settings.flower_password is None else None
        get_settings.cache_clear()
        settings = get_settings()
        if settings.storage_root.is_relative_to(kept.path):
            # A storage of the site's own is left alone: a folder made where its mount is missing would hide that.
            settings.storage_root.mkdir(mode=0o700, parents=True, exist_ok=True)
        say("migrating the schema")
        _migrate(settings)
        environment = {**os.environ, "DLR_HOME": str(kept.path)}
        yield Services(
            kept, settings, environment, postgres, redis, flower_port, password_file, web_port,
            None if web_port is None else first_password_file(kept, settings),
        )  # fmt: skip


@contextmanager
def _as_home(path: Path | None) -> Iterator[Home]:
    before = os.environ.get("DLR_HOME")
    if path is not None:
        os.environ["DLR_HOME"] = str(path)
    try:
        yield Home(default_home())
    finally:
        if before is not None:
            os.environ["DLR_HOME"] = before
        elif path is not None:
            del os.environ["DLR_HOME"]


def _announcement(
    home: Home,
    settings: Settings,
    postgres: EmbeddedPostgres | None,
    redis: EmbeddedRedis | None,
    flower_port: int | None,
    web_port: int | None,
) -> dict[str, str | int]:
    said: dict[str, str | int] = {}
    if postgres is not None:
        said["database_url"] = postgres.url(WRITER)
        said["database_owner_url"] = postgres.url(OWNER)
        said["web_database_url"] = postgres.url(WEB)
        said["shadow_database_url"] = postgres.url(SHADOW)
        said["reader_url"] = postgres.url(READER)
    if redis is not None:
        said["redis_url"] = redis.url()
    if flower_port is not None:
        said["flower_port"] = flower_port
        if settings.flower_password is None:
            said["flower_password"] = home.secret(FLOWER_SECRET)
    if web_port is not None:
        said["web_port"] = web_port
    return said


def _look_at_redis(settings: Settings, say: Callable[[str], None]) -> None:
    """Refuse a Redis of a site's own that forgets, or that lacks what they need, as each worker would, in its log."""
    try:
        with connect(settings.require_redis_url()) as client:
            able = abilities_of(client)
            found = durability_of(client)
    except RedisError as error:
        say(f"Redis {reason_of(error)}; the workers wait for it")
    else:
        able.require()
        found.require(may_forget=settings.redis_may_forget)


def _port(name: str, home: Home, settings: Settings, say: Callable[[str], None]) -> int:
    """Return the port of a service; another one only where nobody asked for the one that is taken."""
    setting, address = f"{name}_port", getattr(settings, f"{name}_address")
    wanted: int = getattr(settings, setting)
    if setting in settings.model_fields_set:
        require_free(f"DLR_{setting.upper()}", wanted, address)
    if wanted and is_free(wanted, address):
        return wanted
    if wanted:
        say(f"port {wanted} is taken, so {name} gets another one")
    return free_port(home.folder("run") / f"{name}.port")


def _migrate(settings: Settings) -> None:
    try:
        upgrade(settings.require_owner_url())
        complete_places(session_factory(make_engine(settings.require_owner_url(), role=OWNER)))
    except RoleRefused as refused:
        raise SetupRefused(Code.SETTING_INVALID, f"DLR_DATABASE_OWNER_URL: {refused}") from None
