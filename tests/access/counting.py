"""How many requests the access matrix really made, and how many values were sent for fields of forms: lines at the end of
every run that has them, also over several processes.

make test ARGS="tests/access"                      the sum
ACCESS_COUNT=roles make test ARGS="tests/access"   and each role and token by itself
"""

import os
from collections import Counter
from typing import Any

import pytest

# What was asked, by "pages as <role>" and "calls with <token>".
REQUESTS: Counter[str] = Counter()
# "forms", their "fields", the "values" that were sent for those.
FILLED_IN: Counter[str] = Counter()
_KEYS = {"access_requests": REQUESTS, "filled_in": FILLED_IN}


def counted(response: Any, what: str) -> Any:
    """The response, which is one request more of its kind."""
    REQUESTS[what] += 1
    return response


def lines(requests: Counter[str], *, by_role: bool) -> list[str]:
    """The sum with its two parts, then each role and token where that is asked for."""
    pages = {what: number for what, number in requests.items() if what.startswith("pages ")}
    calls = {what: number for what, number in requests.items() if not what.startswith("pages ")}
    said = [
        f"access matrix: {requests.total():,} requests: {sum(pages.values()):,} to pages as {len(pages)} roles, "
        f"{sum(calls.values()):,} calls with {len(calls)} tokens"
    ]
    if by_role:
        said += [f"{number:>8,}  {what}" for what, number in sorted(requests.items())]
    return said


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of several hands its count over."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output.update({key: dict(numbers) for key, numbers in _KEYS.items()})


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Another process has ended: its count is added."""
    for key, numbers in _KEYS.items():
        numbers.update(getattr(node, "workeroutput", {}).get(key, {}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if REQUESTS:
        for line in lines(REQUESTS, by_role=os.environ.get("ACCESS_COUNT") == "roles"):
            terminalreporter.write_line(line)
    if FILLED_IN:
        said = ", ".join(f"{number:,} {what}" for what, number in FILLED_IN.items())
        terminalreporter.write_line(f"filled in: {said}")
