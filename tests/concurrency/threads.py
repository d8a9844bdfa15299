"""Many who act at once, each on a thread with a connection of its own."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connections
from django.test import RequestFactory
from django.test.client import ClientHandler

from directory.models import User
from tests.factories import client_of

# As many at once as the database gives connections; the others stand behind them, as behind any pool.
AT_ONCE = 64


def all_at_once[T](work: Callable[[int], T], *, count: int, at_once: int = AT_ONCE) -> list[T]:
    """Run `work(n)` for every n on threads that start together; each closes its connections at its end."""
    crowd = min(count, at_once)
    start = threading.Barrier(crowd)
    numbers: Iterator[int] = iter(range(count))
    turn = threading.Lock()

    def client() -> list[T]:
        answers: list[T] = []
        try:
            start.wait(60)
            while True:
                with turn:
                    number = next(numbers, None)
                if number is None:
                    return answers
                answers.append(work(number))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(crowd) as pool:
        return [answer for each in [pool.submit(client) for _ in range(crowd)] for answer in each.result()]


class Browser(RequestFactory):
    """Posts to the whole portal without noting each template, which costs a thread what all of them draw."""

    def __init__(self, user: User) -> None:
        super().__init__()
        self.cookies = client_of(user).cookies
        self.handler = ClientHandler(enforce_csrf_checks=False)

    def request(self, **request: Any) -> Any:
        return self.handler(self._base_environ(**request))
