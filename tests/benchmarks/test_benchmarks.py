"""Every benchmark runs through at a tiny size and prints the figures of architecture §11; times are not judged."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from config.demo import throwaway
from config.demo.migrated import addresses_of_copy

_numbers = itertools.count(1)

CHECKOUT = Path(__file__).resolve().parents[2]

# Each benchmark with the size that is enough to walk all of it, and the figures that it must print.
BENCHMARKS: Mapping[str, tuple[str, list[str]]] = {
    "assign_bulk": ("--people 1200 --rounds 1", ["ratio"]),
    "assign_one": (
        "--clients 2 --seconds 0.1 --rounds 1 --given 50 --people 500",
        ["ratio_1", "ratio_16_one", "ratio_16_spread", "ratio_given"],
    ),
    "charge": ("--bills 6 --tenants 2 --rounds 1", ["ratio"]),
    "checkout": ("--orders 30 --purchases 1 --rounds 1", ["ratio", "queries"]),
    "entitlement": ("--subscriptions 60 --connections 2 --checks 8 --rounds 1", ["ratio", "queries"]),
    "export": ("--rows 60 --small 20", ["memory_mb"]),
    "renewals": (
        "--due 40 --scale 100 --small 20 --tenants 5 --rounds 1",
        ["ratio", "ratio_scale"],
    ),
    "your_products": (
        "--subscriptions 300 --large 150 --tenants 4 --rounds 1",
        ["ratio_first", "ratio_filter", "ratio_sort", "ratio_last", "ratio_search"],
    ),
}

# What does not depend on the day: the benchmark's own days are others than today.
TIMELESS = ("I-03", "I-06", "I-07", "I-08", "I-10", "I-11", "I-12", "I-15", "I-19", "I-26")


@pytest.fixture(scope="module")
def servers() -> Iterator[Mapping[str, str]]:
    """A PostgreSQL apart from that of the tests: a benchmark commits what it likes."""
    with throwaway.servers({"REDIS_URL": os.environ["REDIS_URL"]}, test_database=True) as settings:
        yield settings


@pytest.fixture
def installation(servers: Mapping[str, str]) -> dict[str, str]:
    """The settings of an installation with a migrated, empty database of its own."""
    return dict(servers) | addresses_of_copy(f"bench_{next(_numbers)}", servers)


def run(settings: Mapping[str, str], *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=CHECKOUT,
        env=os.environ | settings | {"DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_of_them_are_here() -> None:
    modules = {path.stem for path in (CHECKOUT / "benchmarks").glob("*.py")}

    assert modules - {"__init__", "harness"} == set(BENCHMARKS)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_prints_its_figures_last(name: str, installation: dict[str, str]) -> None:
    size, figures = BENCHMARKS[name]

    said = run(installation, "-m", f"benchmarks.{name}", *size.split())

    last = dict(figure.split("=") for figure in said.splitlines()[-1].split())
    assert list(last) == figures
    assert all(float(value) > 0 for value in last.values())


def test_the_bare_statement_of_renewals_leaves_sound_rows_too(installation: dict[str, str]) -> None:
    run(installation, "-m", "benchmarks.renewals", *BENCHMARKS["renewals"][0].split())

    said = run(installation, "manage.py", "check_invariants", "--only", *TIMELESS)

    assert said.startswith("Every invariant holds")
