"""``dlr web``: the worklist page and its accounts."""

import sys
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from worker.cli.failed import moment
from worker.cli.output import Format, FormatOption, print_rows, stderr
from worker.errors import Code, SetupRefused
from worker.services.web_process import web_is_installed
from worker.settings import get_settings

app = typer.Typer(invoke_without_command=True)
users = typer.Typer(no_args_is_help=True)
app.add_typer(users, name="user", help="Accounts that may sign in to the page.")

USER_COLUMNS = ("name", "role")
OPENED_COLUMNS = ("at", "study_id", "reader", "role", "address", "what")


class Role(StrEnum):
    """What an account may see and do (`worker.web.accounts.WebRole`)."""

    READER = "reader"
    RADIOLOGIST = "radiologist"
    ADMINISTRATOR = "administrator"


@app.callback()
def web(
    context: typer.Context,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port (default: DLR_WEB_PORT)")] = None,
    behind_proxy: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESSES", help="Addresses of a TLS proxy in front of it (default: DLR_WEB_BEHIND_PROXY)"
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes that serve it (default: DLR_WEB_WORKERS)")
    ] = None,
) -> None:
    """Serve the worklist page, read-only, until SIGTERM; manage its accounts with `dlr web user`.

    Exit status 1: there is no account yet, or other machines could reach the page without TLS.
    """
    if context.invoked_subcommand is not None:
        return
    _require_extra()
    from worker.logs import configure_logging
    from worker.web.serve import serve

    settings = get_settings()
    changes = {"web_port": port, "web_behind_proxy": behind_proxy, "web_workers": workers}
    settings = settings.model_copy(update={name: value for name, value in changes.items() if value is not None})
    configure_logging(settings.log_level, settings.log_format)
    serve(settings)


@users.command()
def add(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, dots and dashes")],
    role: Annotated[
        Role,
        typer.Option(help="radiologist may give verdicts; administrator also sees history and the reasons of failures"),
    ] = Role.READER,
) -> None:
    """Add an account, or change its password and role, which ends its sessions.

    Asks for the password; without a terminal, reads it from the first line of standard input.
    """
    _require_extra()
    from worker.web.accounts import Accounts, WebRole

    new = Accounts(get_settings().web_accounts).put(name, WebRole(role.value), _password())
    stderr.print(f"{name} {'added' if new else 'changed'} as {role.value}", markup=False, highlight=False)


@users.command()
def remove(name: Annotated[str, typer.Argument(help="The account's name")]) -> None:
    """Remove an account and end its sessions. Exit status 1: there is no such account."""
    _require_extra()
    from worker.web.accounts import Accounts

    removed = Accounts(get_settings().web_accounts).remove(name)
    stderr.print(f"{name} {'removed' if removed else 'has no account'}", markup=False, highlight=False)
    raise typer.Exit(0 if removed else 1)


@users.command("list")
def list_users(fmt: FormatOption = Format.TABLE) -> None:
    """List the accounts, without their passwords."""
    _require_extra()
    from worker.web.accounts import Accounts

    rows = [{"name": one.name, "role": one.role.value} for one in Accounts(get_settings().web_accounts).list()]
    print_rows(rows, USER_COLUMNS, fmt, title="accounts")


@app.command()
def opened(
    study: Annotated[
        str | None, typer.Option(help="Only of this study: its id, Study Instance UID or accession number")
    ] = None,
    reader: Annotated[str | None, typer.Option(help="Only by this reader")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(parser=moment, metavar="TIME", help="Only since then: ISO 8601, or 7d (ago)"),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows, at most")] = 100,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """List who opened which study, on the page or by a token of `dlr api`, the latest first."""
    from db.reads import study_queries
    from db.reads.study_accesses import accesses
    from worker.reporting.lookup import look_up
    from worker.runtime import sessions

    with sessions()() as session:
        named = None if study is None else look_up(session, study, study_queries.study_details)
        ids = None if named is None else {one.study_id for one in named}
        found = accesses(session, limit, study_ids=ids, reader=reader, since=since)
    print_rows([asdict(one) for one in found], OPENED_COLUMNS, fmt, title="opened")


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


def _require_extra() -> None:
    if not web_is_installed():
        raise SetupRefused(Code.SETTING_INVALID, "the worklist page is not installed: pip install 'dlr-worker[web]'")
