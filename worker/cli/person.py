"""Who asks: the person, or the script, that runs a command."""

import getpass
import os
import socket


def who_asks() -> str:
    """Return ``user@host`` of this process; a user without a name is a number."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
