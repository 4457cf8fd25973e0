"""``dlr api``: the HTTP interface and its tokens."""

import re
import sys
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer

from worker.cli.output import Format, FormatOption, print_rows, say
from worker.extras import require_extra
from worker.settings import get_settings

app = typer.Typer(invoke_without_command=True)
tokens = typer.Typer(no_args_is_help=True)
app.add_typer(tokens, name="token", help="Tokens by which programs sign in.")

TOKEN_COLUMNS = ("name", "scopes", "created_at", "expires_at", "expired")


class Scope(StrEnum):
    """What a token allows (`worker.api.tokens.Scope`)."""

    JOBS_WRITE = "jobs:write"
    STUDIES_WRITE = "studies:write"
    STUDIES_READ = "studies:read"
    WORKLIST_READ = "worklist:read"
    DOCUMENTS_READ = "documents:read"
    VERDICTS_WRITE = "verdicts:write"
    PATHOLOGY_WRITE = "pathology:write"


@app.callback()
def api(
    context: typer.Context,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port (default: DLR_API_PORT)")] = None,
) -> None:
    """Serve the HTTP interface until SIGTERM; manage its tokens with `dlr api token`.

    Exit status 1: there is no token yet, or other machines could reach it without TLS.
    """
    if context.invoked_subcommand is not None:
        return
    require_extra("api", "`dlr api`")
    from worker.api.serve import serve
    from worker.logs import configure_logging
    from worker.runtime import answered_intake, decoders

    settings = get_settings()
    settings = settings if port is None else settings.model_copy(update={"api_port": port})
    configure_logging(settings.log_level, settings.log_format)
    serve(settings, answered_intake(), decoders)


@tokens.command()
def create(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, dots and dashes")],
    scope: Annotated[list[Scope], typer.Option(help="What it allows; may be given several times")],
    expires: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="ISO 8601 with its time zone, or from now: 90d, 12h (default: never)"),
    ] = None,
) -> None:
    """Create a token and print it, once: only its hash is kept."""
    require_extra("api", "`dlr api token`")
    from worker.api.tokens import Scope as OfToken
    from worker.api.tokens import Tokens

    text = Tokens(get_settings().api_tokens).create(name, [OfToken(one.value) for one in scope], _moment(expires))
    sys.stdout.write(f"{text}\n")
    say(f"{name} may now sign in with this token, which is shown this once")


@tokens.command("list")
def list_tokens(fmt: FormatOption = Format.TABLE) -> None:
    """List the tokens, without their texts."""
    require_extra("api", "`dlr api token`")
    from worker.api.tokens import Tokens

    now = datetime.now(UTC)
    rows = [
        {
            "name": one.name,
            "scopes": " ".join(sorted(one.scopes)),
            "created_at": one.created_at,
            "expires_at": one.expires_at,
            "expired": one.is_expired(now),
        }
        for one in Tokens(get_settings().api_tokens).list()
    ]
    print_rows(rows, TOKEN_COLUMNS, fmt, title="tokens")


@tokens.command()
def revoke(name: Annotated[str, typer.Argument(help="The token's name")]) -> None:
    """Revoke a token: its next request is refused. Exit status 1: there is no such token."""
    require_extra("api", "`dlr api token`")
    from worker.api.tokens import Tokens

    revoked = Tokens(get_settings().api_tokens).revoke(name)
    say(f"{name} {'revoked' if revoked else 'has no token'}")
    raise typer.Exit(0 if revoked else 1)


def _moment(given: str | None) -> datetime | None:
    if given is None:
        return None
    if re.fullmatch(r"[0-9]{1,5}[dh]", given):
        count = int(given[:-1])
        return datetime.now(UTC) + (timedelta(days=count) if given.endswith("d") else timedelta(hours=count))
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise typer.BadParameter("a time is ISO 8601 with its time zone, or such as 90d or 12h", param_hint="--expires")
    return at
