"""Which user PostgreSQL runs as, since it refuses to run as root."""

import os
import pwd
from pathlib import Path

from worker.errors import Code, SetupRefused
from worker.services.launch import Account

# From linux/capability.h, the lesser first. Container engines grant the second by default and not the first.
CAP_DAC_READ_SEARCH = 2
CAP_DAC_OVERRIDE = 1
CAP_SETPCAP = 8


def server_account(data: Path, *must_reach: Path) -> Account | None:
    """Return the account to run a server with, which keeps its files in ``data``; None: the one we are.

    An ordinary user's server runs as that user. Root's runs as the owner of ``data``, else as ``nobody``, which has an
    entry in every system (initdb wants a name for its user). Such a user cannot enter the folders below /root or a
    home of mode 0700, so one capability goes with it, to search and read; the folders' modes stay as they are.

    Raises:
        SetupRefused: ``setting_invalid``, when that capability is not to be had and a folder is closed.
    """
    if os.geteuid() != 0:
        return None
    uid, gid = _owner(data)
    held = _permitted_capabilities()
    for capability in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE):
        if held >> capability & 1 and held >> CAP_SETPCAP & 1:
            return Account(uid, gid, capability)
    for path in (data, *must_reach):
        for folder in path.resolve().parents:
            if folder.exists() and not folder.stat().st_mode & 0o001:
                raise SetupRefused(
                    Code.SETTING_INVALID,
                    f"PostgreSQL does not run as root, and {folder} is closed to other users: run `dlr up` as an "
                    "ordinary user, or set DLR_HOME to a folder that all users may enter",
                )
    return Account(uid, gid, None)


def _owner(data: Path) -> tuple[int, int]:
    if data.exists() and data.stat().st_uid != 0:
        return data.stat().st_uid, data.stat().st_gid
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _permitted_capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "CapPrm":
            return int(value, 16)
    return 0
