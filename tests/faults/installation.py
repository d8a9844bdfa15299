"""The portal's own processes on a test's database, and servers that a test may break."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

from django.db import connections

from commerce.models import Bill, PaymentAttempt
from config.celery import app
from config.demo.environment import DATABASE_VARIABLES
from config.demo.processes import spawn, stop, tail
from config.kit.tenancy import use_login

CHECKOUT = Path(__file__).resolve().parents[2]
_ALIASES = {"DATABASE_URL": "default", "DATABASE_OWNER_URL": "owner", "DATABASE_WORKER_URL": "worker"}


class Process:
    """One of the portal's processes, with what it says."""

    def __init__(self, name: str, arguments: list[str], changed: Mapping[str, str]) -> None:
        self.log = Path(os.environ["RUN_DIR"]) / f"{name}-{uuid4().hex}.log"
        command = [sys.executable, "-m", "celery", "-A", "config.celery", *arguments]
        self.process = spawn(command, log=self.log, env=environment(changed), cwd=CHECKOUT)

    def says(self, words: str) -> bool:
        """Whether it has said so; it must be alive."""
        assert self.process.poll() is None, tail(self.log)
        return words in self.log.read_text()

    def end(self, *, timeout: float = 120) -> int:
        """End it by SIGTERM, as a deployment does; its exit status."""
        return stop(self.process, timeout=timeout)


@contextmanager
def running(name: str, *arguments: str, **changed: str) -> Iterator[Process]:
    """A Celery process, killed at the end if it is still there; `changed` environment variables are its own."""
    process = Process(name, list(arguments), changed)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.process.kill()
            process.process.wait()


@contextmanager
def worker(**changed: str) -> Iterator[Process]:
    """A real worker with a pool of two, ready to be rung."""
    arguments = ["--concurrency", "2", "--loglevel", "INFO", "--without-mingle", "--without-gossip"]
    with running("worker", "worker", *arguments, **changed) as process:
        wait_until(lambda: process.says("ready."))
        yield process


def environment(changed: Mapping[str, str]) -> dict[str, str]:
    """What a process needs to be the portal, on the databases that this process uses."""
    addresses = {}
    for variable in DATABASE_VARIABLES:
        to = connections[_ALIASES[variable]].settings_dict
        password = quote(str(to["PASSWORD"]), safe="")
        addresses[variable] = f"postgresql://{to['USER']}:{password}@{to['HOST']}:{to['PORT']}/{to['NAME']}"
    return {**os.environ, **addresses, "DJANGO_SETTINGS_MODULE": "config.settings", **changed}


def ring(task: str, *, broker: str = "") -> None:
    """Ask whoever listens to look for work, as beat does."""
    with app.connection_for_write(url=broker or None) as connection:
        app.send_task(task, connection=connection)


def in_flight() -> int:
    """How many renewals are being confirmed at the processor."""
    with use_login("worker"):
        return PaymentAttempt.objects.filter(bill__type="renewal", state="confirming").count()


def unpaid() -> int:
    """How many bills still wait for money."""
    with use_login("worker"):
        return Bill.objects.open().count()


def wait_until(happened: Callable[[], object], *, seconds: float = 120) -> None:
    """Look many times a second; it must happen in time."""
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "It did not happen in time"
        time.sleep(0.03)


def descendants(process: subprocess.Popen[bytes]) -> list[int]:
    """The processes that a process has started, those of its pool."""
    found = []
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        found += [int(pid) for pid in (task / "children").read_text().split()]
    return found
