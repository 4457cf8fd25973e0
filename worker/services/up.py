"""``dlr up``: the servers, both workers, Flower and the page, as one process that a person starts and stops."""

import sys
import time
from collections.abc import Callable
from threading import Event

from worker.errors import DlrError
from worker.extras import hint, is_installed, require_extra
from worker.services.flower import flower_url
from worker.services.running_services import Services, running_services
from worker.services.signals import Stopped, stopped_by_signals
from worker.services.supervisor import Supervisor
from worker.services.web_process import FIRST_NAME, web_is_installed, web_url
from worker.settings import get_settings, without_secrets

LOOK_SECONDS = 0.25
MODELS_LOOK_SECONDS = 2.0

Say = Callable[[str], None]


def print_line(line: str) -> None:
    """Say a line to the person at the terminal, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run_up(say: Say = print_line) -> int:
    """Run everything until SIGINT or SIGTERM; return the exit status 0. A second signal ends what still hangs.

    Raises:
        SetupRefused: ``already_running``, or ``setting_invalid`` with the reason.
        Unavailable: an embedded server does not come up.
    """
    settings = get_settings()
    if settings.metrics_port is not None:
        require_extra("metrics", "DLR_METRICS_PORT")
    if settings.traces_url is not None:
        require_extra("tracing", "DLR_TRACES_URL")
    hurry = Event()
    try:
        with stopped_by_signals(hurry), running_services(say=say) as services:
            supervisor = Supervisor(services.home, say)
            supervisor.hurry = hurry
            with supervisor:
                _run(services, supervisor, say)
    except Stopped:
        say("stopped; all data is in DLR_HOME for the next start")
    return 0


def _run(services: Services, supervisor: Supervisor, say: Say) -> None:
    if services.flower_port is not None:
        supervisor.start(services.flower())
    if services.web_port is not None:
        supervisor.start(services.web())
    if services.settings.metrics_port is not None:
        supervisor.start(services.exporter())
    supervisor.start(services.worker("intake"))
    _describe(services, say)
    waiting = not _models_are_ready(services)
    if waiting:
        say(
            "No models are active yet, so studies wait: run `dlr demo-models` (never for patients), or "
            "`dlr models add` and `dlr models activate`. The inference worker then starts automatically."
        )
    else:
        _start_inference(services, supervisor, say)
    say("up; Ctrl-C stops it")
    look_at_models, shadowed = time.monotonic(), False
    while True:
        time.sleep(LOOK_SECONDS)
        _revive(services, say)
        supervisor.look()
        if time.monotonic() < look_at_models:
            continue
        look_at_models = time.monotonic() + MODELS_LOOK_SECONDS
        if waiting and _models_are_ready(services):
            waiting = False
            say("both models are active: starting the inference worker")
            _start_inference(services, supervisor, say)
        if not shadowed and _has_shadows(services):
            shadowed = True
            say("there is a shadow version: starting `dlr shadow`")
            supervisor.start(services.shadow())


def _start_inference(services: Services, supervisor: Supervisor, say: Say) -> None:
    if is_installed("worker"):
        supervisor.start(services.worker("inference"))
    else:
        say(f"studies wait: the inference worker needs {hint('worker')}; then restart this")


def _has_shadows(services: Services) -> bool:
    """Whether shadows are to run here; with a database of your own, DLR_SHADOW_DATABASE_URL says that they may."""
    from worker.inference.registry import Registry

    is_told = services.settings.shadow_database_url is not None
    return is_told and is_installed("worker") and bool(Registry(services.settings.models_dir).shadows())


def _models_are_ready(services: Services) -> bool:
    from worker.inference.registry import Registry

    return Registry(services.settings.models_dir).is_ready()


def _revive(services: Services, say: Say) -> None:
    try:
        revived = services.revive()
    except DlrError as error:
        say(f"a server exited and does not start: {error.reason}")
        time.sleep(MODELS_LOOK_SECONDS)
    else:
        if revived:
            say(f"{revived} exited and was restarted; see {services.home.path / 'logs'}")


def _describe(services: Services, say: Say) -> None:
    """Say where everything is, without passwords."""
    settings = services.settings
    say(f"PostgreSQL  {without_secrets(settings.require_database_url())}")
    if services.postgres is not None:
        say("            with password: dlr db url --role reader")
    say(f"Redis       {without_secrets(settings.require_redis_url())}")
    if services.flower_port is None:
        say("Flower      is not installed: pip install 'dlr-worker[flower]'")
    else:
        say(f"Flower      {flower_url(settings, services.flower_port)}  {_flower_sign_in(services)}")
    say(f"Worklist    {_page(services)}")
    if settings.metrics_port is not None:
        say(
            f"Metrics     http://{settings.metrics_address}:{settings.exporter_port}/metrics; workers from port "
            f"{settings.metrics_port} on"
        )
    say(f"Logs        {services.home.path / 'logs'}")


def _flower_sign_in(services: Services) -> str:
    if services.settings.flower_oidc_issuer is not None:
        return f"sign-in: {services.settings.flower_oidc_issuer}"
    where = f"in {services.flower_password_file}" if services.flower_password_file else "DLR_FLOWER_PASSWORD"
    return f"user {services.settings.flower_user}, password {where}"


def _page(services: Services) -> str:
    if services.web_port is None:
        missing = "DLR_WEB_DATABASE_URL is not set" if web_is_installed() else "pip install 'dlr-worker[web]'"
        return f"is not served: {missing}"
    if services.web_password_file is None:
        return f"{web_url(services.settings, services.web_port)}  accounts: dlr web user list"
    return (
        f"{web_url(services.settings, services.web_port)}  user {FIRST_NAME}, password in {services.web_password_file}"
    )
