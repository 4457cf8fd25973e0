"""The command ``dlr`` in the test's own process: what it prints and its exit status, without the time to import it.

`dlr` is what nearly every test wants. `dlr_process` is a process of its own, for what only a process has: signals, its
real standard output, what it imports.
"""

import io
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from unittest import mock

from worker.cli.main import main
from worker.settings import get_settings

MADE_ONCE = (
    "worker.app",
    "worker.cli.submit",
    "worker.doctor.checks",
    "worker.doctor.redis",
    "worker.demo.run",
    "worker.runtime",
    "worker.tasks",
    "worker.exporter.exporter",
    "worker.exporter.collectors",
)
"""Modules that hold, or have imported, what a process makes once of its settings: imported anew for each command."""


def clean_environment(**variables: str) -> dict[str, str]:
    """Return the environment with none of our variables but these."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DLR_")} | variables


def dlr(
    *arguments: object, environment: Mapping[str, str] | None = None, stdin: str = "", **variables: object
) -> "subprocess.CompletedProcess[str]":
    """Run a command, and return what a user sees of it.

    Args:
        arguments: the words after ``dlr``.
        environment: its variables, in place of the test's.
        stdin: what is typed; standard input is no terminal.
        variables: set beside these.
    """
    done = dlr_bytes(*arguments, environment=environment, stdin=stdin, **variables)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def dlr_bytes(
    *arguments: object, environment: Mapping[str, str] | None = None, stdin: str = "", **variables: object
) -> "subprocess.CompletedProcess[bytes]":
    """As `dlr`, with standard output as bytes."""
    words = ["dlr", *map(str, arguments)]
    given = {**(os.environ if environment is None else environment), **{k: str(v) for k, v in variables.items()}}
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2)]
    with (
        mock.patch.dict(os.environ, given, clear=True),
        mock.patch.multiple(sys, argv=words, stdin=io.StringIO(stdin), stdout=streams[0], stderr=streams[1]),
        _a_process_of_its_own(),
    ):
        status = _status()
    said = [stream.buffer.getvalue() for stream in streams]  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(words, status, *said)


def _status() -> int:
    try:
        main()
    except SystemExit as ended:
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
            return 1
        return ended.code or 0
    return 0


@contextmanager
def _a_process_of_its_own() -> Iterator[None]:
    """Give a command nothing of what a process makes once, and take what it made away again."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    kept = {name: sys.modules.pop(name) for name in MADE_ONCE if name in sys.modules}
    get_settings.cache_clear()
    try:
        # What the tests leave behind is to be collected all the same.
        with warnings.catch_warnings(), mock.patch("worker.cli.lazy_commands.gc"):
            yield
    finally:
        for name in MADE_ONCE:
            sys.modules.pop(name, None)
        for name, module in kept.items():
            sys.modules[name] = module
            parent, _, leaf = name.rpartition(".")
            setattr(sys.modules[parent], leaf, module)
        root.handlers[:] = handlers
        root.setLevel(level)
        get_settings.cache_clear()


def dlr_process(*arguments: object, **variables: object) -> "subprocess.CompletedProcess[str]":
    """Run a command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "worker.cli.main", *map(str, arguments)],
        env={**os.environ, **{name: str(value) for name, value in variables.items()}},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
