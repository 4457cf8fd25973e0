"""PgBouncer before a database: started, killed, and started again at its own port."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import make_url

from benchmarks.faults.waiting import listens, wait_until
from worker.network.port import LOOPBACK, free_port

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
START_S = 30.0


@dataclass
class Pooler:
    """A PgBouncer in a folder of its own.

    Attributes:
        url: of the database behind it.
        port: at which it listens, each time it is started.
    """

    folder: Path
    url: str
    port: int
    _process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it, and wait until it listens.

        Raises:
            TimeoutError: it does not.
        """
        assert PROGRAM is not None
        account = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None  # it does not run as root
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, self.folder / "pgbouncer.ini"], user=account, stdout=log, stderr=log
            )
        wait_until(lambda: listens(self.port), START_S, (self.folder / "log").read_text)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def pooler(url: str, mode: str, size: int = 20, **more: object) -> Iterator[Pooler]:
    """Run PgBouncer.

    Args:
        url: of the database.
        mode: its ``pool_mode``.
        size: sessions of PostgreSQL that it has to give.
        more: further settings.
    """
    server = make_url(url)
    with TemporaryDirectory(prefix="dlr-pooler-") as place:
        folder = Path(place)
        port = free_port(folder / "port")
        (folder / "users").write_text(f'"{server.username}" "{server.password}"\n')
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={server.host} port={server.port}\n[pgbouncer]\nlisten_addr = {LOOPBACK}\n"
            f"listen_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {folder / 'users'}\n"
            f"pool_mode = {mode}\ndefault_pool_size = {size}\nmax_client_conn = 1000\n"
            + "".join(f"{name} = {value}\n" for name, value in more.items())
        )
        if os.geteuid() == 0:
            for path in (folder, *folder.iterdir()):
                os.chown(path, pwd.getpwnam("nobody").pw_uid, -1)
        behind = server.set(host=LOOPBACK, port=port).render_as_string(hide_password=False)
        made = Pooler(folder, behind, port)
        try:
            made.start()
            yield made
        finally:
            made.kill()
