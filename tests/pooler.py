"""PgBouncer before a database, where it is installed."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_connection
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import make_url

from tests.waiting import until
from worker.network.port import LOOPBACK, free_port

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed (apt-get install pgbouncer)")


@contextmanager
def pooled(url: str, mode: str, size: int = 20, **more: object) -> Iterator[str]:
    """Run PgBouncer; give the URL of the same database behind it.

    Args:
        url: of the database.
        mode: its ``pool_mode``.
        size: sessions of PostgreSQL that it has to give.
        more: further settings.
    """
    server = make_url(url)
    assert PROGRAM is not None
    with TemporaryDirectory(prefix="dlr-pooler-") as place:
        folder = Path(place)
        port = free_port(folder / "port")
        (folder / "users").write_text(f'"{server.username}" "{server.password}"\n')
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={server.host} port={server.port}\n[pgbouncer]\nlisten_addr = {LOOPBACK}\n"
            f"listen_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {folder / 'users'}\n"
            f"pool_mode = {mode}\ndefault_pool_size = {size}\n"
            + "".join(f"{name} = {value}\n" for name, value in more.items())
        )
        account = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None  # it does not run as root
        if account is not None:
            for path in (folder, *folder.iterdir()):
                os.chown(path, account, -1)
        with (folder / "log").open("w+") as log:
            process = subprocess.Popen([PROGRAM, folder / "pgbouncer.ini"], user=account, stdout=log, stderr=log)
            try:
                until(lambda: _listens(port), said=(folder / "log").read_text)
                yield server.set(host=LOOPBACK, port=port).render_as_string(hide_password=False)
            finally:
                process.kill()
                process.wait()


def _listens(port: int) -> bool:
    try:
        create_connection((LOOPBACK, port)).close()
    except OSError:
        return False
    return True
