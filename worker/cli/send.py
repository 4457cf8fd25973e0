"""``dlr send``: results delivered to any number of destinations."""

import signal
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from db.schema.vocabulary import DeliveryState
from db.writes import audit, outbox
from worker.cli import destinations
from worker.cli.failed import moment
from worker.cli.output import Card, Format, FormatOption, print_rows, stderr
from worker.settings import Settings, get_settings

if TYPE_CHECKING:
    from worker.audit.forwarder import Forwarder
    from worker.reporting.documents import Camera
    from worker.sending.sender import Sender

app = typer.Typer()

COLUMNS = ("delivery_id", "study_id", "destination", "state", "attempts", "error_code", "error_reason",
           "created_at", "next_at", "sent_at")  # fmt: skip
CARD = Card(
    ("study_id", "destination", "state", "error_code"),
    ("delivery_id", "attempts", "error_reason", "created_at", "next_at", "sent_at"),
)
ROUND_COLUMNS = ("destination", "sent", "failed", "held_up", "not_taken", "away", "quiet_until")

DestinationOption = Annotated[str | None, typer.Option(metavar="NAME", help="Only this destination")]
NameArgument = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this destination")]

app.command()(destinations.show)
app.command("test")(destinations.ask)
app.command()(destinations.check)


@app.callback(invoke_without_command=True)
def send(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Deliver what is due now, report, and stop")] = False,
    since: Annotated[
        datetime | None,
        typer.Option(parser=moment, metavar="TIME", help="Also studies that ended since then: ISO 8601, or 7d (ago)"),
    ] = None,
) -> None:
    """Deliver results to the destinations of DLR_SEND_DESTINATIONS and the other DLR_SEND_ settings, until Ctrl-C.

    Audit messages go to DLR_AUDIT_COLLECTOR, if there is one, also where there is no destination.

    A destination gets the studies that end after it was first enabled. What cannot be delivered now is retried for as
    long as it takes; `dlr send list --failed` has what a retry cannot fix.
    """
    if context.invoked_subcommand is not None:
        return
    from worker.sending.from_settings import is_asked_for

    settings = get_settings()
    forwarder = _forwarder(settings)
    senders = _senders(settings) if forwarder is None or is_asked_for(settings) else []
    if once:
        _once(senders, forwarder, since)
    else:
        _until_stopped(senders, forwarder, since)


@app.command("list")
def list_deliveries(
    name: NameArgument = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only refused deliveries, which are not retried")] = False,
    destination: DestinationOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of deliveries")] = 1000,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """List deliveries that are waiting or were refused."""
    from worker.runtime import sessions

    states = [DeliveryState.FAILED] if failed else [DeliveryState.WAITING, DeliveryState.FAILED]
    with sessions()() as session:
        rows = [asdict(row) for row in outbox.deliveries(session, states, name or destination, limit)]
    print_rows(rows, COLUMNS, fmt, "deliveries", CARD)


@app.command()
def retry(
    name: NameArgument = None,
    destination: DestinationOption = None,
    delivery: Annotated[int | None, typer.Option("--id", help="Only this delivery")] = None,
) -> None:
    """Retry waiting and refused deliveries now. Exit status 1: none match."""
    from worker.runtime import sessions

    with sessions().begin() as session:
        count = outbox.retry(session, name or destination, delivery)
    stderr.print(f"{count} deliveries will be retried", highlight=False)
    raise typer.Exit(0 if count else 1)


@app.command()
def health(fmt: FormatOption = Format.TABLE) -> None:
    """Health check. Exit status 0: a sender has served each destination within three minutes.

    Of a collector of audit messages it shows what waits for it, whatever the exit status.
    """
    from worker.audit.forwarder import collector_of
    from worker.doctor.postgresql import SILENT_S
    from worker.runtime import sessions
    from worker.sending.from_settings import is_asked_for, routes

    settings = get_settings()
    collector = collector_of(settings)
    with sessions()() as session:
        states = {state.destination: state for state in outbox.outbox_states(session)}
        not_sent, oldest = audit.waiting(session) if collector is not None else (0, None)
    asked_for = routes(settings) if collector is None or is_asked_for(settings) else []
    names = [route.destination.name for route in asked_for]
    found = [(name, states.get(name)) for name in names]
    now = datetime.now(UTC)
    served = [state is not None and (now - state.looked_at).total_seconds() < SILENT_S for _, state in found]
    rows: list[dict[str, object]] = [
        {"destination": name, "is_served": ok} | ({} if state is None else asdict(state))
        for (name, state), ok in zip(found, served, strict=True)
    ]
    if collector is not None:
        rows.append({"destination": str(collector), "waiting": not_sent, "oldest": oldest})
    print_rows(rows, ("destination", "is_served", "waiting", "failed", "oldest", "looked_at"), fmt, title="senders")
    raise typer.Exit(0 if all(served) else 1)


def _forwarder(settings: Settings) -> "Forwarder | None":
    """Make what sends audit messages, where a collector is named."""
    from worker.audit.forwarder import Forwarder, collector_of, source_of
    from worker.logs import configure_logging
    from worker.outages.retry import retry_while_away, stopping
    from worker.runtime import serve, sessions

    collector = collector_of(settings)
    if collector is None:
        return None
    settings.require_database_url()
    configure_logging(settings.log_level, settings.log_format)
    serve()
    return Forwarder(collector, sessions(), source_of(settings), settings.retry_wait_s, retry_while_away, stopping)


def _senders(settings: Settings) -> "list[Sender]":
    """Make a sender for each destination of the settings, with logs as a worker has them."""
    from worker.logs import configure_logging
    from worker.outages.retry import retry_while_away, stopping
    from worker.runtime import serve, sessions
    from worker.sending.from_settings import routes
    from worker.sending.sender import Sender

    settings.require_database_url()
    found = routes(settings, _camera(settings))
    configure_logging(settings.log_level, settings.log_format)
    serve()
    wait_s, lease_s = settings.retry_wait_s, 2 * settings.send_timeout_s
    return [
        Sender(route.destination, sessions(), wait_s, lease_s, retry_while_away, stopping, route.terms)
        for route in found
    ]


def _camera(settings: Settings) -> "Camera | None":
    """Return what pictures are made with, where they are wanted: decoders, as a worker has them."""
    from worker.sending.from_settings import wants_pictures

    if not wants_pictures(settings):
        return None
    from worker.errors import Code, SetupRefused
    from worker.reporting.documents import Camera
    from worker.runtime import decoders

    try:
        from worker.reporting.frames import frame_reader
    except ImportError:
        reason = "pictures need the extra: pip install 'dlr-worker[worker]'"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    return Camera(frame_reader(decoders()))


def _once(senders: "Sequence[Sender]", forwarder: "Forwarder | None", since: datetime | None) -> None:
    """Exit status 1: a destination was away, or something was refused or is held up."""
    rows: list[dict[str, object]] = []
    for sender in senders:
        sender.switch_on(since)
        counts: Counter[str] = Counter(sent=0, failed=0, held_up=0, not_taken=0)
        while True:
            done = sender.work()
            counts.update({name: getattr(done, name) for name in counts})
            if done.is_idle or done.away is not None:
                break
        away = None if done.away is None else done.away.reason
        rows.append({"destination": sender.destination.name, **counts, "away": away, "quiet_until": done.quiet_until})
    if forwarder is not None:
        rows.append({"destination": str(forwarder.collector), **_forwarded(forwarder)})
    print_rows(rows, ROUND_COLUMNS, Format.TABLE, title="deliveries of this round")
    raise typer.Exit(1 if any(row["failed"] or row["held_up"] or row["away"] for row in rows) else 0)


def _forwarded(forwarder: "Forwarder") -> dict[str, object]:
    sent = 0
    while True:
        done = forwarder.work()
        sent += done.sent
        if done.is_idle or done.away is not None:
            away = None if done.away is None else done.away.reason
            return {"sent": sent, "failed": 0, "held_up": 0, "not_taken": 0, "away": away, "quiet_until": None}


def _until_stopped(senders: "Sequence[Sender]", forwarder: "Forwarder | None", since: datetime | None) -> None:
    from worker.audit.notes import running as noted
    from worker.outages.retry import Stopping, stopping
    from worker.runtime import sessions

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    if senders:
        names = ", ".join(sender.destination.name for sender in senders)
        stderr.print(f"sending results to {names}", highlight=False)
    if forwarder is not None:
        stderr.print(f"sending audit messages to {forwarder.collector}", highlight=False)
    with noted(sessions(), "dlr send"), ThreadPoolExecutor(len(senders) + 1) as pool:
        running = [pool.submit(sender.run, since) for sender in senders]
        running += [] if forwarder is None else [pool.submit(forwarder.run)]
        wait(running, return_when=FIRST_EXCEPTION)
        stopping.set()
    for one in running:
        with suppress(Stopping):
            one.result()
