"""``dlr health``, ``dlr doctor`` and ``dlr settings``: the state of the service, for probes and people."""

from dataclasses import asdict
from typing import Annotated

import typer

from worker.cli.output import NARROW, Card, Format, FormatOption, print_entries, print_rows, say, stdout
from worker.settings import Described, by_group, described, get_settings, old_names

COLUMNS = ("component", "health", "version", "detail")
CARD = Card(("component", "health", "version"), ("detail",))
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


def doctor(fmt: FormatOption = Format.TABLE) -> None:
    """Check every component: its health, version and what is wrong. Exit status 1: something is down."""
    from worker.doctor.checks import everything
    from worker.doctor.component import Health

    found = everything(get_settings())
    print_rows([asdict(component) for component in found], COLUMNS, fmt, "components", CARD)
    raise typer.Exit(1 if any(component.health is Health.DOWN for component in found) else 0)


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
