"""The person or script that runs a command: who it is, and its confirmation."""

import getpass
import os
import socket
import sys

import typer


def who_asks() -> str:
    """Return ``user@host`` of this process; a user without a name is a number."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def make_sure(question: str, otherwise: str) -> None:
    """Ask a person at a terminal for confirmation; a script has to give ``--yes``.

    Raises:
        typer.Abort: the person says no.
        typer.BadParameter: nobody is there to be asked; the message is ``otherwise``.
    """
    if not sys.stdin.isatty():
        raise typer.BadParameter(otherwise)
    typer.confirm(question, abort=True, err=True)
