"""The version before this one: a commit, run beside this checkout with the same installed distributions.

To move it, after a release: its commit in `COMMIT`, its latest migration in `SCHEMA`, and what it does not promise any
more goes from docs/administrator.md. A commit whose schema ours no longer supports fails the row `upgrade`.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.faults.not_here import NotPossibleHere

COMMIT = "a00dafe6eec18ff2ae284146350bd946a1155fae"
SCHEMA = "0018"
ROOT = Path(__file__).resolve().parents[2]


class NotInHistory(NotPossibleHere):
    """This checkout is no git repository, or a shallow one, and does not have the commit."""


@contextmanager
def former_version() -> Iterator[Path]:
    """Unpack it into a folder that is gone afterwards.

    Raises:
        NotInHistory: it is not there.
    """
    with TemporaryDirectory(prefix="dlr-former-") as folder:
        archive = subprocess.run(["git", "archive", COMMIT], cwd=ROOT, capture_output=True, check=False)
        if archive.returncode:
            raise NotInHistory(f"commit {COMMIT[:8]} is not in the history of this checkout")
        subprocess.run(["tar", "--extract"], cwd=folder, input=archive.stdout, check=True)
        yield Path(folder)
