"""An interpreter in which packages are not installed, though they are: ``python -m tests.hiding PACKAGES COMMANDS``.

Runs commands of ``dlr`` one after the other. Prints the exit status of each and what it said on standard error: JSON.
"""

import io
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


class Hiding(PathFinder):
    """Finds modules as Python does, but those of some packages."""

    hidden: frozenset[str] = frozenset()

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module."""
        return None if fullname.partition(".")[0] in cls.hidden else super().find_spec(fullname, path, target)


def main(packages: str, commands: str) -> None:
    """Hide packages, and run commands."""
    Hiding.hidden = frozenset(json.loads(packages))
    sys.meta_path[sys.meta_path.index(PathFinder)] = Hiding
    json.dump([_told(words) for words in json.loads(commands)], sys.stdout)


def _told(words: list[str]) -> tuple[Any, str]:
    from worker.cli.main import main

    sys.argv = ["dlr", *words]
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    status: Any = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            status = ended.code or 0
        except Exception as error:  # noqa: BLE001  what would be a traceback
            status = repr(error)
    err.seek(0)
    return status, err.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
