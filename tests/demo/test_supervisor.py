"""`make run` (config/demo/supervisor.py): one process that owns all others."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psycopg
import pytest

from config.demo.environment import Kept
from config.demo.people import TENANTS
from config.demo.servers import free_port

CHECKOUT = Path(__file__).resolve().parents[2]


class Demo:
    """One `make run` in a folder of its own."""

    def __init__(self, var, port, **extra):
        self.var, self.port = var, port
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "SEATKEEPER_VAR": str(var),
            "PORT": str(port),
            **extra,
        }
        self.output = var.with_suffix(".output")
        self.process = None

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def start(self):
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "config.demo.supervisor"],
                cwd=CHECKOUT,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + 600  # under load
        while "Ctrl-C stops everything" not in self.output.read_text():
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.2)
        self.family = descendants(self.process.pid)

    def run_once(self, *arguments):
        return subprocess.run(
            [sys.executable, "-m", "config.demo.supervisor", *arguments],
            cwd=CHECKOUT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def settings(self):
        return dict(re.findall(r"(\w+)='(.*)'", (self.var / "env").read_text()))

    def owner(self):
        return psycopg.connect(self.settings()["DATABASE_OWNER_URL"], autocommit=True)

    def end(self, number):
        self.process.send_signal(number)
        return self.process.wait(timeout=90)

    def survivors(self, patience):
        deadline = time.monotonic() + patience
        while True:
            alive = [name for pid, begun, name in self.family if stat(pid)[:1] == [begun]]
            if not alive or time.monotonic() > deadline:
                return alive
            time.sleep(0.1)


def stat(pid):
    """When the process began, its parent, its name; empty for one that is gone or a zombie."""
    try:
        name, rest = re.match(r"\d+ \((.*)\) (.*)", Path(f"/proc/{pid}/stat").read_text()).groups()
    except (OSError, AttributeError):
        return []
    fields = rest.split()
    return [] if fields[0] == "Z" else [fields[19], int(fields[1]), name]


def descendants(root):
    processes = {int(path.name): stat(path.name) for path in Path("/proc").glob("[0-9]*")}
    found, grown = {root}, True
    while grown:
        more = {pid for pid, data in processes.items() if data and data[1] in found} - found
        found, grown = found | more, bool(more)
    return [(pid, processes[pid][0], processes[pid][2]) for pid in found - {root}]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    demo = Demo(tmp_path_factory.mktemp("demo") / "var", free_port())
    yield demo
    if demo.is_running:
        demo.end(signal.SIGTERM)
    demo.run_once("reset")


@pytest.fixture
def running(demo):
    if not demo.is_running:
        demo.start()
    return demo


@pytest.fixture
def idle(tmp_path):
    return Demo(tmp_path / "var", free_port())


def test_answers_and_lists_every_account(running):
    ready = httpx.get(f"http://127.0.0.1:{running.port}/readyz")

    assert ready.status_code == 200
    assert set(ready.json().values()) == {"ok"}
    for home in TENANTS:
        for person in home.people:
            assert home.mail(person) in running.output.read_text()


def test_settings_and_secrets_are_for_their_owner_only(running):
    modes = {name: (running.var / name).stat().st_mode & 0o777 for name in ("env", "kept.json")}

    assert modes == {"env": 0o600, "kept.json": 0o600}


def test_management_commands_find_the_servers_without_further_settings(running):
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--check", "--database", "owner"],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"], "SEATKEEPER_ENV_FILE": str(running.var / "env")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_a_second_run_says_where_the_first_one_is(running):
    second = running.run_once()

    assert second.returncode == 1
    assert f"already running in this checkout: http://127.0.0.1:{running.port}" in second.stderr
    assert running.process.poll() is None


def test_reset_refuses_while_it_runs(running):
    refused = running.run_once("reset")

    assert refused.returncode == 1
    assert "already running" in refused.stderr
    assert (running.var / "env").exists()


def test_life_and_death(running):
    with running.owner() as connection:
        connection.execute("CREATE TABLE kept_mark AS SELECT 42 AS answer")
    before = running.settings()

    running.end(signal.SIGKILL)
    assert running.survivors(patience=30) == []

    running.start()
    with running.owner() as connection:
        assert connection.execute("SELECT answer FROM kept_mark").fetchone() == (42,)
    assert running.settings() == before
    ready = httpx.get(f"http://127.0.0.1:{running.port}/readyz")
    assert ready.json()["billing"] == "ok"

    assert running.end(signal.SIGTERM) == 0
    assert running.survivors(patience=0) == []
    assert running.output.read_text().rstrip().endswith("Stopped")


def test_ends_with_an_error_when_a_part_dies(running):
    beat = next(pid for pid, _, _ in running.family if "beat" in Path(f"/proc/{pid}/cmdline").read_text())

    os.kill(beat, signal.SIGKILL)

    assert running.process.wait(timeout=90) == 1
    assert "beat ended with code -9. The end of" in running.output.read_text()
    assert running.survivors(patience=0) == []


def test_reports_a_taken_port_and_what_to_do(idle):
    with socket.create_server(("127.0.0.1", idle.port)):
        done = idle.run_once()

    assert done.returncode == 1
    assert f"Port {idle.port} of 127.0.0.1 is taken" in done.stderr
    assert f"PORT={idle.port + 1} make run" in done.stderr


def test_reports_a_taken_port_of_an_identity_provider(idle):
    idle.var.mkdir()
    port = Kept(idle.var / "kept.json").port("identity-contoso")

    with socket.create_server(("127.0.0.1", port)):
        done = idle.run_once()

    assert done.returncode == 1
    assert f"Port {port} is taken by another program" in done.stderr
    assert json.loads((idle.var / "kept.json").read_text())["port-identity-contoso"] == str(port)


@pytest.mark.parametrize("key", ["sk_live_1", "rk_live_1"])
def test_refuses_to_run_beside_a_live_card_key(idle, key):
    idle.environment["STRIPE_SECRET_KEY"] = key

    done = idle.run_once()

    assert done.returncode == 1
    assert "STRIPE_SECRET_KEY holds a live key" in done.stderr
    assert not idle.var.exists()
