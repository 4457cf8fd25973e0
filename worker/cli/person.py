"""The person, or the script, that runs a command: who it is, and whether it is sure."""

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
    """Ask a person at a terminal; a script has to say ``--yes``.

    Raises:
        typer.Abort: the person says no.
        typer.BadParameter: nobody is there to be asked; the message is ``otherwise``.
    """
    if not sys.stdin.isatty():
        raise typer.BadParameter(otherwise)
    typer.confirm(question, abort=True, err=True)
