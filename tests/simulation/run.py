"""One seed from its first day to its last; and what to leave out of one that fails."""

import hashlib
import random
import time
import traceback
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from config.kit.errors import DomainError
from tests.simulation import admin_deeds, control_deeds  # noqa: F401 - they register theirs
from tests.simulation.books import Books
from tests.simulation.crashes import Death, Died, dying
from tests.simulation.deeds import DEEDS, Deed, Nothing
from tests.simulation.gateway import Gateway
from tests.simulation.laws import broken_always, broken_once_settled, has_written
from tests.simulation.settling import settle
from tests.simulation.world import World, add_markets, empty_tables, make_world

# So many steps apart everything is let come to rest, and everything must be exact.
SETTLES_EVERY = 30
SHOWN = 12
OPENING = [
    next(deed for deed in DEEDS if deed.name == name) for name in ("buy", "buy_centrally", "buy", "buy")
]


@dataclass
class History:
    """What one seed did. `broken` is empty when all was well; else it ends at the step that broke it."""

    seed: int
    lines: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    steps: int = 0
    tally: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def digest(self) -> str:
        """The same for the same history."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()[:16]


def run_seed(
    seed: int,
    *,
    years: float,
    gateway: Gateway,
    without: Collection[int] = (),
    deeds: Collection[Deed] = DEEDS,
) -> History:
    """Live one history; `without` are steps in which only time passes."""
    began = time.perf_counter()
    history = History(seed)
    empty_tables()
    add_markets()
    world = make_world(seed, gateway)
    books = Books(world)
    ends = world.at + timedelta(days=365 * years)
    chosen, weights = list(deeds), [deed.weight for deed in deeds]
    while world.at < ends and not history.broken:
        number = history.steps
        history.steps += 1
        world.rng = random.Random(f"{seed}/{number}")
        gateway.rng = random.Random(f"{seed}/{number}/weather")
        world.move(_gap(world.rng))
        if number % SETTLES_EVERY == SETTLES_EVERY - 1 or world.at >= ends:
            said, history.broken = _settle(world, books)
            _note(history, number, world.at, "settle", said)
        elif number not in without:
            # A world in which nobody bought anything is a dull one.
            deed = OPENING[number] if number < len(OPENING) else world.rng.choices(chosen, weights)[0]
            said, history.broken = _do(world, deed)
            history.broken += _after(books, deed, history.broken)
            _note(history, number, world.at, deed.name, said)
            history.tally[
                f"{deed.name}: {said.split(':')[0] if said.startswith('refused') else 'died' if said.startswith('died') else 'nothing' if said == '-' else 'done'}"
            ] += 1
    history.lines += books.summary()
    history.seconds = time.perf_counter() - began
    return history


def _gap(rng: random.Random) -> timedelta:
    """How long until the next step: mostly nothing to hours, now and then weeks in which no sweep runs."""
    kind = rng.random()
    if kind < 0.35:
        return timedelta(0)
    if kind < 0.50:
        return timedelta(minutes=rng.randint(1, 59))
    if kind < 0.66:
        return timedelta(hours=rng.randint(1, 23), minutes=rng.randrange(60))
    if kind < 0.88:
        return timedelta(days=rng.randint(1, 12), minutes=rng.randrange(1440))
    if kind < 0.98:
        return timedelta(days=rng.randint(13, 40), minutes=rng.randrange(1440))
    return timedelta(days=rng.randint(41, 90), minutes=rng.randrange(1440))


def _do(world: World, deed: Deed) -> tuple[str, list[str]]:
    """One deed, which may die; what the trace says, and what is wrong with how it ended."""
    death = None
    if world.rng.random() < (0.2 if deed.is_sweep else 0.08):
        death = Death(1 + int(world.rng.expovariate(0.2)), world.rng.random() < 0.5)
    repeats = 2 if deed.is_sweep and world.rng.random() < 0.1 else 1
    try:
        with dying(death, world.gateway):
            said = " / ".join(deed.act(world) for _ in range(repeats))
    except Died:
        return f"died {death}", []
    except Nothing:
        return "-", []
    except DomainError as refusal:
        return f"refused {refusal.code}", []
    except Exception:  # noqa: BLE001 - whatever it is, the seed has found a fault
        return "raised", [traceback.format_exc()]
    return said, []


def _after(books: Books, deed: Deed, broken: list[str]) -> list[str]:
    if broken or not has_written():
        return []
    return broken_always() or books.errors(deed.name)


def _settle(world: World, books: Books) -> tuple[str, list[str]]:
    try:
        said = settle(world)
    except Exception:  # noqa: BLE001 - likewise
        return "raised", [traceback.format_exc()]
    broken = broken_once_settled(world.at)
    return said, broken or books.errors("settle", is_settled=True)


def _note(history: History, number: int, at: datetime, name: str, said: str) -> None:
    history.lines.append(f"{number:4} {at:%Y-%m-%d %H:%M} {name}: {said}")


def shrink(
    history: History, *, years: float, gateway: Gateway, seconds: float = 120.0
) -> tuple[History, set[int]]:
    """A history of the same seed that still fails, with as many steps as possible left out.

    Ever smaller parts are left out as long as something still breaks, until `seconds` are over.
    """
    ends = time.monotonic() + seconds
    deeds = list(range(history.steps - 1))
    without: set[int] = set()
    best = history
    size = max(1, len(deeds) // 2)
    while size and time.monotonic() < ends:
        for first in range(0, len(deeds), size):
            part = set(deeds[first : first + size]) - without
            if not part or time.monotonic() > ends:
                continue
            tried = run_seed(history.seed, years=years, gateway=gateway, without=without | part)
            if tried.broken and tried.steps <= best.steps:
                best, without = tried, without | part
        size //= 2
    return best, without


def told(history: History, *, years: float, without: Collection[int] = ()) -> str:
    """What a person wants to know of a seed that failed, and the command that repeats it."""
    left_out = f' WITHOUT="{" ".join(map(str, sorted(without)))}"' if without else ""
    lines = [
        f"Seed {history.seed} broke at step {history.steps - 1}:",
        *(f"  {what}" for what in history.broken[:SHOWN]),
        "What happened before:",
        *(f"  {line}" for line in history.lines if not line.endswith(": -")),
        f"Again: make simulate SEED={history.seed} YEARS={years:g}{left_out}",
    ]
    return "\n".join(lines)
