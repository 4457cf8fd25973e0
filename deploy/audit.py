"""Look the lock's distributions up in an index of advisories (OSV), by pip-audit. Exit status 1: one has an advisory.

    python deploy/audit.py

Where no index answers, nothing was audited, and one line says so; the exit status is 0.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deploy.locked import export, install

ADVISORIES = "https://api.osv.dev/v1/query"
PROBE_S = 10.0


def reason_not_to(address: str = ADVISORIES, within_s: float = PROBE_S) -> str | None:
    """Return why the index cannot be asked; ``None``: it answers."""
    asked = Request(address, data=b'{"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "23.0"}')  # noqa: S310
    try:
        with urlopen(asked, timeout=within_s) as answer:  # noqa: S310  the address above
            return None if answer.status == 200 else f"status {answer.status}"
    except HTTPError as error:
        return f"status {error.code}"
    except OSError as error:
        return str(getattr(error, "reason", error)) or type(error).__name__


def main() -> int:
    """Audit, or say why not."""
    reason = reason_not_to()
    if reason is not None:
        print(f"audit: NOT RUN: {ADVISORIES} cannot be asked ({reason})")
        return 0
    install(["dev", "audit"])
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(export(["dev"]))
        file.flush()
        command = ["-m", "pip_audit", "--vulnerability-service", "osv", "--disable-pip", "--require-hashes", "-r"]
        return subprocess.run([sys.executable, *command, file.name], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
