"""Entitlement checks over HTTP, token and limit included, against an empty view by the same server.

    python -m benchmarks.entitlement --people 1000

Both sides are asked by keep-alive connections in turn, so the server, its middleware and the client cost the same on both;
the empty view is `/healthz`, which answers a constant. Every answer is looked at: an entitled person, status 200.

`ratio`: the time of the empty view to ours. `queries`: 1 to the number of queries of one check.
"""

import argparse
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from benchmarks.harness import ROUNDS, pairs, print_figures, report  # noqa: E402
from commerce.models import Subscription  # noqa: E402
from commerce.operations.catalogue import PRICES_VALID_FROM, load_catalogue  # noqa: E402
from commerce.operations.seeding import Wanted, seed_customers  # noqa: E402
from config.kit.tenancy import tenant_atomic, use_login  # noqa: E402
from directory.actors import build_actor  # noqa: E402
from directory.models import User  # noqa: E402
from directory.operations.tokens import issue_service_token  # noqa: E402
from licensing.models import Assignment  # noqa: E402
from licensing.operations.assignments import assign_licenses  # noqa: E402

EMPTY = "/healthz"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.entitlement", description=__doc__)
    parser.add_argument(
        "--subscriptions", type=int, default=20_000, help="in the database (default %(default)s)"
    )
    parser.add_argument("--connections", type=int, default=8, help="kept alive (default %(default)s)")
    parser.add_argument("--checks", type=int, default=2_000, help="in each round (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="interleaved pairs (default %(default)s)")
    options = parser.parse_args()
    secret, paths = prepare(options.subscriptions)
    queries = queries_of_one(secret, paths[0])
    with server() as port:
        ours, empty = (Load(port, asked, secret, options.connections) for asked in (paths, [EMPTY]))
        compared = pairs(
            lambda: ours.run(options.checks), lambda: empty.run(options.checks), rounds=options.rounds
        )
    print(f"queries of one check: {queries}")
    assert queries == 1, queries
    print_figures(ratio=report(f"{len(paths)} people", compared), queries=1 / queries)


def prepare(subscriptions: int) -> tuple[str, list[str]]:
    """Organizations with purchases, and in the large one people with licenses; a service token that asks about them."""
    at = datetime.now(UTC)
    with use_login("owner"):
        load_catalogue(at=PRICES_VALID_FROM)
        seeded = seed_customers(
            Wanted(tenants=5, subscriptions=subscriptions, large=subscriptions // 2), at=at
        )
    with tenant_atomic(seeded.tenant_id):
        admin = User.objects.get(pk=seeded.admin_id)
        actor = build_actor(admin, acting_tenant_id=seeded.tenant_id, at=at)
        assert actor is not None
        people = list(User.objects.active().members().values_list("pk", flat=True)[:1_000])
        usable = Subscription.objects.filter(
            tenant_id=seeded.tenant_id, state="active", owner_kind="organization", channel="central"
        )
        for subscription in usable.order_by("id")[:20]:
            assign_licenses(
                actor=actor, subscription_key=subscription.key, user_ids=people, at=at, confirmed=True
            )
        held = Assignment.objects.live().filter(subscription__state="active")
        named = held.values_list("user__key", "subscription__product__key").distinct()
        paths = [f"/api/v1.0/entitlements?user={user}&product={product}" for user, product in named]
    issued = issue_service_token(
        actor=actor, name="Benchmark", scopes=["licenses.read"], days=1, at=at, real_at=at
    )
    assert paths
    return issued.secret, paths


def queries_of_one(secret: str, path: str) -> int:
    """What one check asks the database, inside this process."""
    host = settings.PUBLIC_URL.split("://", 1)[1]
    client = Client(headers={"authorization": f"Bearer {secret}", "host": host})
    client.get(path)
    with CaptureQueriesContext(connection) as asked:
        answer = client.get(path)
    assert answer.json()["entitled"] is True, answer.content
    return len(asked)


@contextmanager
def server() -> Iterator[int]:
    """The installation as it is served, on a port of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [
        *(sys.executable, "-m", "gunicorn", "config.wsgi", "--bind", f"127.0.0.1:{port}"),
        *("--workers", "2", "--threads", "4", "--worker-class", "gthread", "--log-level", "warning"),
        *("--keep-alive", "60", "--no-control-socket"),
    ]
    # Nobody's limit is what is measured.
    environment = os.environ | {"ENTITLEMENTS_PER_SECOND": "1000000"}
    process = subprocess.Popen(command, env=environment)
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.1)
            else:
                break
        yield port
    finally:
        process.terminate()
        process.wait()


class Load:
    """So many connections, each asking one address after the other."""

    def __init__(self, port: int, paths: list[str], secret: str, connections: int) -> None:
        host = settings.PUBLIC_URL.split("://", 1)[1]
        self._requests = [
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {secret}\r\n\r\n".encode()
            for path in paths
        ]
        self._marks = b'"entitled": true' if paths != [EMPTY] else b'"status": "ok"'
        self._port, self._connections = port, connections

    def run(self, checks: int) -> float:
        """Seconds for one answer, all connections together."""
        each = checks // self._connections
        errors: list[BaseException] = []
        threads = [
            threading.Thread(target=self._ask, args=(each, number, errors))
            for number in range(self._connections)
        ]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - began
        if errors:
            raise errors[0]
        return seconds / (each * self._connections)

    def _ask(self, checks: int, number: int, errors: list[BaseException]) -> None:
        try:
            asked = itertools.islice(itertools.cycle(self._requests), number * 7, number * 7 + checks)
            with socket.create_connection(("127.0.0.1", self._port), timeout=60) as kept:
                for request in asked:
                    kept.sendall(request)
                    answer = _answer_of(kept)
                    if not answer.startswith(b"HTTP/1.1 200") or self._marks not in answer:
                        raise AssertionError(answer[:500])
        except (OSError, AssertionError) as error:
            errors.append(error)


def _answer_of(kept: socket.socket) -> bytes:
    """One answer: its head, and as much body as the head says."""
    read = b""
    while b"\r\n\r\n" not in read:
        read += _more(kept)
    head, _end, body = read.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    )
    while len(body) < length:
        body += _more(kept)
    return head + body


def _more(kept: socket.socket) -> bytes:
    part = kept.recv(65_536)
    if not part:
        raise AssertionError(b"the server closed the connection")
    return part


if __name__ == "__main__":
    main()
