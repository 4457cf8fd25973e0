"""Hosts on one machine: network namespaces, each with an address of its own, and a router between them that can drop.

Each host is a namespace that hangs on the router by a pair of veth, in a network of RFC 2544 (198.18.0.0/15). What the
router is told to drop is gone without a word, as behind a cable that is out or a firewall that forgot: no reset, and no
"unreachable". The machine itself is a host too, `HERE`, from which people and hospitals' systems reach all others.
"""

import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.faults.not_here import NotPossibleHere
from benchmarks.faults.waiting import wait_until

PREFIX = "dlr-host-"
ROUTER = f"{PREFIX}router"
NETWORK = "198.18"
HERE = "here"
NAMES = ("worker-a", "worker-b", "postgres", "redis", "storage")

_NAMESPACES = Path("/run/netns")
_GONE_S = 10.0


class Hosts:
    """The hosts, for as long as they are there."""

    def __init__(self, names: Sequence[str]) -> None:
        self._numbers = {name: number for number, name in enumerate((HERE, *names))}

    def make(self) -> None:
        """Make the router, and each host behind it.

        Raises:
            NotPossibleHere: this user may not.
        """
        try:
            _ip("netns", "add", ROUTER)
            # `ip netns exec` has a /sys of its own, and the same /proc.
            _run("ip", "netns", "exec", ROUTER, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
            for name in self._numbers:
                self._attach(name)
        except (OSError, subprocess.CalledProcessError) as error:
            raise NotPossibleHere("no network namespace can be made here (CAP_NET_ADMIN)") from error

    def address(self, name: str) -> str:
        """Return a host's address."""
        return f"{NETWORK}.{self._numbers[name]}.2"

    def within(self, name: str) -> list[str]:
        """Return what stands before a command that is to run on a host."""
        return ["ip", "netns", "exec", _namespace(name)]

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Let this thread, and what it starts, be on a host.

        Source: setns(2), "Changing the network namespace".
        """
        with Path("/proc/thread-self/ns/net").open() as own, (_NAMESPACES / _namespace(name)).open() as other:
            _enter(other.fileno())
            try:
                yield
            finally:
                _enter(own.fileno())

    @contextmanager
    def cut(self, one: str, other: str, *, back: bool = True) -> Iterator[None]:
        """Drop what one host sends to another and, with ``back``, what that one sends to it."""
        ways = [(one, other), (other, one)] if back else [(one, other)]
        rules = [("from", self.address(sender), "to", self.address(receiver)) for sender, receiver in ways]
        for rule in rules:
            _ip("-n", ROUTER, "rule", "add", *rule, "blackhole")
        try:
            yield
        finally:
            for rule in rules:
                _ip("-n", ROUTER, "rule", "del", *rule)

    def signal(self, name: str, number: int) -> None:
        """Send a signal to every process of a host."""
        for pid in _pids(_namespace(name)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _attach(self, name: str) -> None:
        number = self._numbers[name]
        at, own, router = f"{PREFIX}{number}", f"{NETWORK}.{number}.2", f"{NETWORK}.{number}.1"
        _ip("link", "add", at, "type", "veth", "peer", "name", "uplink", "netns", ROUTER)
        _ip("-n", ROUTER, "link", "set", "uplink", "name", f"host-{number}", "up")
        _ip("-n", ROUTER, "addr", "add", f"{router}/24", "dev", f"host-{number}")
        there: tuple[str, ...] = ()
        if name != HERE:
            there = ("-n", _namespace(name))
            _ip("netns", "add", _namespace(name))
            _ip("link", "set", at, "netns", _namespace(name))
            _ip(*there, "link", "set", "lo", "up")
        _ip(*there, "addr", "add", f"{own}/24", "dev", at)
        _ip(*there, "link", "set", at, "up")
        _ip(*there, "route", "add", f"{NETWORK}.0.0/16", "via", router)


@contextmanager
def hosts(names: Sequence[str] = NAMES) -> Iterator[Hosts]:
    """Have hosts; nobody else on this machine has any meanwhile, and what a killed run left behind is removed first.

    Raises:
        NotPossibleHere: they cannot be made.
    """
    if shutil.which("ip") is None:
        raise NotPossibleHere("no network namespace can be made here: iproute2 is not installed")
    if os.geteuid() != 0:
        raise NotPossibleHere("no network namespace can be made here (root)")
    with (Path(tempfile.gettempdir()) / f"{PREFIX}lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _remove_all()
        made = Hosts(names)
        try:
            made.make()
            yield made
        finally:
            _remove_all()


def _remove_all() -> None:
    left = [path.name for path in _NAMESPACES.glob(f"{PREFIX}*")]
    for namespace in left:
        for pid in _pids(namespace):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    for namespace in left:
        wait_until(lambda: not _pids(namespace), _GONE_S, lambda: f"{namespace} has processes")  # noqa: B023  of this turn
        _ip("netns", "del", namespace)
    with suppress(subprocess.CalledProcessError):  # gone with the router, as a rule
        _ip("link", "del", f"{PREFIX}0")


def _namespace(name: str) -> str:
    return f"{PREFIX}{name}"


def _pids(namespace: str) -> list[int]:
    found = _run("ip", "netns", "pids", namespace).split()
    return [int(pid) for pid in found if int(pid) != os.getpid()]


def _enter(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0x40000000):  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "setns")


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
