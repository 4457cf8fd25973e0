"""Start a program that ends with its parent and, if asked, gives up root first.

This file is run as a script between fork and exec (``python -I -S launch.py ...``), so it imports the standard library
alone. A script, and not a ``preexec_fn``, because Python code between fork and exec can deadlock when the parent has
threads.
"""

import ctypes
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

# From linux/prctl.h, linux/securebits.h and linux/capability.h.
PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAPABILITY_VERSION_3 = 0x20080522


@dataclass(frozen=True, slots=True)
class Account:
    """Whom to become: numeric user and group, and the one capability to keep (its number), if any."""

    uid: int
    gid: int
    capability: int | None


def wrapped(argv: Sequence[str], *, death_signal: int, account: Account | None = None) -> list[str]:
    """Return the command that runs ``argv``; the kernel sends it ``death_signal`` when this process's thread ends."""
    plan = {
        "parent": os.getpid(),
        "death_signal": int(death_signal),
        "account": asdict(account) if account else None,
    }
    return [sys.executable, "-I", "-S", __file__, json.dumps(plan), *argv]


def _call(libc: Any, function: str, *arguments: Any) -> None:
    if getattr(libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), function)


def _become(libc: Any, account: Account) -> None:
    if account.capability is not None:
        # Without this bit the change of user drops every capability, and access(2), with which PostgreSQL checks its
        # own binaries, ignores the one that is kept.
        _call(libc, "prctl", PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)
    if account.capability is not None:
        low = 1 << account.capability  # the capabilities used here are all below 32
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
        sets = (ctypes.c_uint32 * 6)(low, low, low, 0, 0, 0)
        _call(libc, "capset", header, sets)
        _call(libc, "prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, account.capability, 0, 0)


def main(plan: str, *argv: str) -> None:
    """Change into the program ``argv`` as ``plan`` (JSON, from :func:`wrapped`) says; does not return."""
    wanted = json.loads(plan)
    libc = ctypes.CDLL(None, use_errno=True)
    if wanted["account"]:
        _become(libc, Account(**wanted["account"]))
    # After the change of user, which clears it; before the look at the parent, which may be gone already.
    _call(libc, "prctl", PR_SET_PDEATHSIG, wanted["death_signal"], 0, 0, 0)
    if os.getppid() != wanted["parent"]:
        sys.exit(1)
    os.execv(argv[0], argv)  # noqa: S606  that is this file's purpose


if __name__ == "__main__":
    main(*sys.argv[1:])
