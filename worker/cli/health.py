"""``dlr health``, ``dlr doctor`` and ``dlr settings``: the state of the service, for probes and people."""

from dataclasses import asdict
from typing import Annotated

import typer

from worker.cli.output import NARROW, Card, Format, FormatOption, print_entries, print_rows, say, stdout
from worker.extras import require_extra
from worker.settings import Described, by_group, described, get_settings, old_names

COLUMNS = ("component", "health", "version", "detail")
CARD = Card(("component", "health", "version"), ("detail",))
DRILL_COLUMNS = ("check", "kept", "studies", "lost", "wrong", "figure", "rests_on", "faults")
DRILL_CARD = Card(DRILL_COLUMNS[:5], DRILL_COLUMNS[5:])
SETTING_COLUMNS = ("variable", "value", "source", "description", "old_name")


def health(
    worker: Annotated[
        str | None, typer.Option(metavar="NAME", help="Check this host's worker instead, by its --name or queue")
    ] = None,
    receiver: Annotated[bool, typer.Option("--receiver", help="Check this host's `dlr receive` instead")] = False,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Health checks. Exit status 0: PostgreSQL, its schema and Redis are up, or the worker or receiver answers.

    Takes a few seconds at most, even if a server hangs.
    """
    from worker.doctor.checks import receiver_answers, servers, worker_answers
    from worker.doctor.component import Health

    settings = get_settings()
    found = servers(settings) if worker is None and not receiver else []
    if worker is not None:
        found.append(worker_answers(worker, settings))
    if receiver:
        found.append(receiver_answers(settings))
    down = [component for component in found if component.health is Health.DOWN]
    if fmt is Format.TABLE:
        for component in (one for one in found if one.health is not Health.OK):
            say(f"{component.component}: {component.detail}")
    else:
        print_rows([asdict(component) for component in found], COLUMNS, fmt)
    raise typer.Exit(1 if down else 0)


def doctor(
    drill: Annotated[
        bool, typer.Option("--drill", help="Do safe faults to the staging servers that the settings name")
    ] = False,
    staging: Annotated[
        str | None, typer.Option(metavar="DATABASE", help="With --drill: the staging database's name, to confirm it")
    ] = None,
    failover: Annotated[
        bool, typer.Option("--failover", help="With --drill: wait for you to promote a standby meanwhile")
    ] = False,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Check every component: its health, version and what is wrong. Exit status 1: something is down.

    With --drill, phantoms are pushed through the service while the drill's own workers are killed and their connections
    cut. It says what each promise rests on here, and that no study was lost or wrong; exit status 1: one was. Files and
    identifiers of the phantoms are removed at the end.
    """
    from worker.doctor.checks import everything
    from worker.doctor.component import Health

    if not drill and (failover or staging is not None):
        raise typer.BadParameter("needs --drill", param_hint="--failover" if failover else "--staging")
    if drill:
        raise typer.Exit(_drill(staging, fmt, failover=failover))
    found = everything(get_settings())
    print_rows([asdict(component) for component in found], COLUMNS, fmt, "components", CARD)
    raise typer.Exit(1 if any(component.health is Health.DOWN for component in found) else 0)


def _drill(staging: str | None, fmt: Format, *, failover: bool) -> int:
    require_extra("worker", "--drill")
    if staging is None:
        raise typer.BadParameter("--drill is for staging servers alone: confirm with --staging and their database")
    from worker.drill.run import drill
    from worker.drill.servers import require_staging
    from worker.runtime import sessions

    settings = get_settings()
    require_staging(settings, staging)
    with drill(settings, sessions(), say) as made:
        found = []
        for one in made.faults(failover=failover):
            found.append(one)
            say(f"{one.check}: {one.lost} lost, {len(one.wrong)} wrong")
    rows = [asdict(one) | {"wrong": len(one.wrong), "faults": "; ".join(one.wrong), "kept": one.kept} for one in found]
    print_rows(rows, DRILL_COLUMNS, fmt, "drill", DRILL_CARD)
    return 0 if all(one.kept for one in found) else 1


def settings(fmt: FormatOption = Format.TABLE) -> None:
    """Show every setting: its variable, its value, where that comes from. Secrets are asterisks."""
    found = described(get_settings())
    if fmt is Format.TABLE and stdout.width < NARROW:
        for title, group in by_group(found).items():
            print_entries([(_in_a_line(setting), setting.description) for setting in group], f"\n{title}")
    else:
        print_rows([asdict(setting) for setting in found], SETTING_COLUMNS, fmt, title="settings")
    for old in old_names():
        say(str(old))


def _in_a_line(setting: Described) -> str:
    return (
        f"{setting.variable} = {setting.value} ({setting.source})" if setting.value else f"{setting.variable}: not set"
    )
