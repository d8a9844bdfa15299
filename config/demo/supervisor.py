"""`make run`: everything Seatkeeper needs on one machine, started, watched and stopped by one process.

`python -m config.demo.supervisor` runs the demo until it is interrupted; `... reset` forgets its data.
Environment: HOST, PORT, PUBLIC_URL; DATABASE_URL with DATABASE_OWNER_URL and DATABASE_WORKER_URL, or REDIS_URL,
to use servers of one's own; SEATKEEPER_VAR, the folder for data and logs (default: `var` in the checkout).
"""

import argparse
import ctypes
import fcntl
import hashlib
import http.client
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Never
from urllib.parse import urlsplit

from config.demo.environment import (
    DATABASE_VARIABLES,
    IDENTITY_PORTS,
    SERVER_PORTS,
    Kept,
    LiveKey,
    database_passwords,
    key_settings,
    names_command,
    processor_command,
    refuse_live_keys,
    write_private,
)
from config.demo.people import TENANTS
from config.demo.processes import PR_SET_PDEATHSIG, ChildFailed, spawn, stop
from config.demo.servers import Postgres, Valkey, port_is_free
from config.demo.staff import app_secret

CHECKOUT = Path(__file__).resolve().parents[2]


class CannotRun(Exception):
    """The demo cannot start as things are; the message says why and what to do."""


class Ended(BaseException):
    """Somebody asked the supervisor to stop."""


class Supervisor:
    """One demo in one folder. `environment` is that of whoever called `make run`."""

    def __init__(self, var: Path, environment: Mapping[str, str]) -> None:
        self.var = var.absolute()
        self.host = environment.get("HOST", "127.0.0.1")
        self.port = int(environment.get("PORT", "8000"))
        self.public_url = environment.get("PUBLIC_URL", f"http://127.0.0.1:{self.port}").rstrip("/")
        self._given = environment
        self._environment: dict[str, str] = {}
        self._logs = self.var / "log"
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, subprocess.Popen[bytes]] = {}
        self._started_at = time.monotonic()

    def run(self) -> None:
        """Set up, say where it is, and watch until `Ended`.

        :raises CannotRun: a port is taken, or the demo is already running.
        :raises LiveKey: the environment holds a live key of the card processor.
        :raises ChildFailed: a part did not start, or ended while it should run.
        """
        refuse_live_keys(self._given)
        # All that is kept is for its owner alone; PostgreSQL's own account passes through to its folder.
        os.umask(0o077)
        self._logs.mkdir(parents=True, exist_ok=True)
        self.var.chmod(0o711)
        with self._only_one() as after_a_crash:
            kept = Kept(self.var / "kept.json")
            self._claim_ports(kept, patience=15 if after_a_crash else 0)
            postgres, valkey = self._servers(kept)
            try:
                self._start(kept, postgres, valkey)
                self._announce()
                self._watch(postgres, valkey)
            finally:
                # Whoever is impatient kills: the children end with this process anyhow.
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_IGN)
                self._stop(postgres, valkey)

    def reset(self) -> None:
        """Delete everything the demo keeps.

        :raises CannotRun: the demo is running.
        """
        if not self.var.exists():
            return
        with self._only_one():
            self._servers(Kept(self.var / "kept.json"))[0].remove()
            shutil.rmtree(self.var)

    def _servers(self, kept: Kept) -> tuple[Postgres, Valkey]:
        return (
            Postgres(
                self.var / "postgresql", port=kept.port("postgresql"), passwords=database_passwords(kept)
            ),
            Valkey(self.var / "valkey", port=kept.port("valkey"), password=kept.password("valkey")),
        )

    @contextmanager
    def _only_one(self) -> Iterator[bool]:
        """Hold the folder's lock; yields whether the last run ended without cleaning up."""
        marker = self.var / "running"
        with (self.var / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                where = marker.read_text() if marker.exists() else "it is still starting"
                raise CannotRun(f"Seatkeeper is already running in this checkout: {where}") from None
            after_a_crash = marker.exists()
            marker.write_text(f"{self.public_url} (process {os.getpid()})")
            try:
                yield after_a_crash
            finally:
                marker.unlink(missing_ok=True)

    def _claim_ports(self, kept: Kept, *, patience: float) -> None:
        """See to it that every port is free. After a crash the old processes get some seconds to end."""
        deadline = time.monotonic() + patience

        def taken(port: int, host: str = "127.0.0.1") -> bool:
            while not port_is_free(port, host):
                if time.monotonic() >= deadline:
                    return True
                time.sleep(0.2)
            return False

        if taken(self.port, self.host):
            raise CannotRun(
                f"Port {self.port} of {self.host} is taken by another program."
                f" Stop that one, or choose another: PORT={self.port + 1} make run"
            )
        for name in SERVER_PORTS:
            if taken(kept.port(name)):
                kept.choose_port_anew(name)
        for name in IDENTITY_PORTS:
            if taken(kept.port(name)):
                raise CannotRun(
                    f"Port {kept.port(name)} is taken by another program. The demo's accounts are bound to it"
                    f" ({name}): stop that program, or forget the demo's data with `make reset`."
                )

    def _start(self, kept: Kept, postgres: Postgres, valkey: Valkey) -> None:
        settings = {
            "DEMO": "true",
            "PUBLIC_URL": self.public_url,
            "CLOCK_FILE": str(self.var / "clock.json"),
            "STATIC_ROOT": str(self.var / "static"),
            "EMAIL_URL": f"filemail:///{self.var / 'mail'}",
            **key_settings(kept),
        }
        if all(self._given.get(variable) for variable in DATABASE_VARIABLES):
            settings |= {variable: self._given[variable] for variable in DATABASE_VARIABLES}
            self._say("PostgreSQL: the one that DATABASE_URL names")
        else:
            self._say("PostgreSQL")
            postgres.start()
            settings |= {variable: postgres.url(login) for variable, login in DATABASE_VARIABLES.items()}
        if self._given.get("REDIS_URL"):
            settings["REDIS_URL"] = self._given["REDIS_URL"]
            self._say("Valkey: the one that REDIS_URL names")
        else:
            self._say("Valkey")
            valkey.start()
            settings["REDIS_URL"] = valkey.url()
        write_private(self.var / "env", "".join(f"{key}='{value}'\n" for key, value in settings.items()))
        self._environment = dict(self._given) | settings
        self._environment |= {
            "SEATKEEPER_ENV_FILE": str(self.var / "env"),
            "DJANGO_SETTINGS_MODULE": "config.settings",
        }

        self._say("Static files and migrations")
        static_files, collected = _state_of_static_files(), self.var / "static.collected"
        collecting = None
        if not collected.exists() or collected.read_text() != static_files:
            collecting = self._manage("collectstatic", "--no-input", "--verbosity", "0")
        self._finish(self._manage("migrate", "--database", "owner", "--verbosity", "1"), "migrate")
        self._say("Card processor, identity providers, name server")
        self._start_peers(settings)
        self._say("Demo data")
        self._finish(self._manage("load_demo"), "load_demo")
        if collecting:
            self._finish(collecting, "collectstatic")
            collected.write_text(static_files)

        self._say("Worker, beat, web server")
        self._start_portal()

    def _start_peers(self, settings: Mapping[str, str]) -> None:
        """Start the card processor and the identity providers and wait until they answer."""
        identity = [sys.executable, "-m", "config.demo.identity"]
        identity += ["--state-dir", str(self.var / "identity"), "--public-url", self.public_url]
        self._run_on("processor", processor_command(settings, self.var / "processor"))
        self._run_on("identity", identity)
        self._run_on("names", names_command(settings))
        for name, address in (
            ("processor", settings["STRIPE_API_BASE"]),
            ("identity", settings["DEMO_ISSUERS"].rsplit("=", 1)[1]),  # the last to be served
        ):
            self._wait_for(name, partial(_is_listening, urlsplit(address).port or 0))

    def _start_portal(self) -> None:
        """Start what runs the portal's own code and wait until it is ready."""
        celery = [sys.executable, "-m", "celery", "-A", "config.celery"]
        commands = {
            "worker": [*celery, "worker", "--concurrency", "2", "--loglevel", "INFO", "--without-mingle"],
            "beat": [*celery, "beat", "--schedule", str(self.var / "beat"), "--pidfile="],
            "web": [
                *(sys.executable, "-m", "gunicorn", "config.wsgi"),
                *("--bind", f"{self.host}:{self.port}", "--workers", "2", "--access-logfile", "-"),
                "--no-control-socket",
            ],
        }
        for name, command in commands.items():
            self._run_on(name, command)
        self._wait_for("web", self._is_ready)

    def _run_on(self, name: str, command: list[str]) -> None:
        """Start a child that has to live as long as the demo."""
        self._children[name] = self._spawn(name, command)

    def _spawn(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        return spawn(command, log=self._log(name), env=self._environment, cwd=CHECKOUT)

    def _manage(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a management command, which has to end by itself: `_finish` waits for it."""
        self._commands[arguments[0]] = self._spawn(arguments[0], [sys.executable, "manage.py", *arguments])
        return self._commands[arguments[0]]

    def _finish(self, child: subprocess.Popen[bytes], name: str) -> None:
        """Wait for a command; the user sees that it is still at it."""
        while True:
            try:
                code = child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._say(f"  still busy with {name}")
            else:
                break
        del self._commands[name]
        if code:
            raise ChildFailed(name, f"failed with code {code}", self._log(name))

    def _wait_for(self, name: str, is_ready: Callable[[], bool]) -> None:
        """:raises ChildFailed: a child ended, or two minutes were not enough."""
        for attempt in range(600):
            self._see_that_all_live()
            if is_ready():
                return
            if attempt and attempt % 50 == 0:
                self._say(f"  still waiting for {name}")
            time.sleep(0.2)
        raise ChildFailed(name, "was not ready after two minutes", self._log(name))

    def _is_ready(self) -> bool:
        public = urlsplit(self.public_url)
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        connection = http.client.HTTPConnection(host, self.port, timeout=10)
        try:
            connection.request(
                "GET", "/readyz", headers={"Host": public.netloc, "X-Forwarded-Proto": public.scheme}
            )
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _watch(self, postgres: Postgres, valkey: Valkey) -> Never:
        while True:
            self._see_that_all_live(postgres, valkey)
            time.sleep(0.5)

    def _see_that_all_live(self, *servers: Postgres | Valkey) -> None:
        """:raises ChildFailed: one of the children has ended."""
        for name, child in self._children.items():
            if child.poll() is not None:
                raise ChildFailed(name, f"ended with code {child.returncode}", self._log(name))
        for server in servers:
            if server.process is not None and server.process.poll() is not None:
                raise ChildFailed(
                    type(server).__name__, f"ended with code {server.process.returncode}", server.log
                )

    def _stop(self, postgres: Postgres, valkey: Valkey) -> None:
        """End what is left, those first that use the others."""
        print("Stopping", flush=True)
        for command in self._commands.values():
            stop(command)
        for name in ("web", "beat", "worker", "identity", "processor", "names"):
            if name in self._children:
                stop(self._children.pop(name))
        valkey.stop()
        postgres.stop()
        print("Stopped", flush=True)

    def _announce(self) -> None:
        self._say("Ready")
        print(f"\n  Seatkeeper    {self.public_url}/\n  Try a role    {self.public_url}/demo/\n")
        for home in TENANTS:
            print(f"  {home.name}")
            for person in home.people:
                print(f"    {home.mail(person):<28}{person.does}")
                if person.staff_roles:
                    secret = app_secret(home.mail(person), key=self._environment["SECRET_KEY"])
                    print(f"    {'':<28}secret of the authenticator app: {secret}")
        print(
            f"\n  Logs are in {self._logs}. Ctrl-C stops everything; `make reset` forgets the data.\n",
            flush=True,
        )

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self._started_at:6.1f} s  {text}", flush=True)


def _is_listening(port: int) -> bool:
    return not port_is_free(port)


def _state_of_static_files() -> str:
    """A fingerprint of all that `collectstatic` collects; compressing it anew takes longer than all the rest."""
    digest = hashlib.sha256((CHECKOUT / "uv.lock").read_bytes())
    for folder in sorted([CHECKOUT / "static", *CHECKOUT.glob("*/static")]):
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            digest.update(str(path).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m config.demo.supervisor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", choices=["run", "reset"], default="run")
    parser.add_argument("--end-with-parent", action="store_true", help="stop when the calling process ends")
    options = parser.parse_args()
    supervisor = Supervisor(Path(os.environ.get("SEATKEEPER_VAR") or CHECKOUT / "var"), os.environ)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    if options.end_with_parent and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    try:
        if options.command == "reset":
            supervisor.reset()
        else:
            supervisor.run()
    except (CannotRun, LiveKey, ChildFailed) as failure:
        print(failure, file=sys.stderr)
        return 1
    except Ended:
        pass
    return 0


def _end(number: int, frame: object) -> Never:
    raise Ended


if __name__ == "__main__":
    sys.exit(main())
