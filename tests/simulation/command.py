"""`make simulate SEEDS=200 YEARS=3`: many seeds, or one again."""

import argparse
import logging
import tempfile
import time
from collections import Counter
from pathlib import Path

from commerce.operations.catalogue import PRICES_VALID_FROM, load_catalogue
from config.kit.tenancy import use_login
from tests.simulation.gateway import Gateway, reached_by_the_portal
from tests.simulation.run import run_seed, shrink, told
from tests.simulation.world import simulated_settings

DESCRIPTION = "Random histories of the portal, each made again by its seed (tests/simulation)."


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=DESCRIPTION)
    parser.add_argument("--seeds", type=int, default=20, help="how many seeds (default %(default)s)")
    parser.add_argument("--first", type=int, default=1, help="the first of them (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="this one alone, with its whole trace")
    parser.add_argument("--years", type=float, default=3, help="how long each lives (default %(default)s)")
    parser.add_argument("--without", type=int, nargs="*", default=[], help="steps to leave out")
    parser.add_argument("--shrink", type=float, default=120, help="seconds to shorten a failing seed")
    return parser.parse_args(arguments)


def simulate(options: argparse.Namespace) -> int:
    """Run the seeds one after another and print one line each; 1 when one of them broke."""
    logging.disable(logging.CRITICAL)
    with use_login("owner"):
        load_catalogue(at=PRICES_VALID_FROM)
    seeds = [options.seed] if options.seed else range(options.first, options.first + options.seeds)
    began, steps, failed = time.monotonic(), 0, 0
    tally: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, simulated_settings():
        gateway = Gateway(Path(folder))
        with reached_by_the_portal(gateway):
            for seed in seeds:
                history = run_seed(seed, years=options.years, gateway=gateway, without=options.without)
                steps += history.steps
                tally += history.tally
                print(
                    f"seed {seed}: {history.steps} steps, {history.seconds:.1f} s, {history.digest}"
                    f"{' BROKEN' if history.broken else ''}",
                    flush=True,
                )
                if options.seed and not history.broken:
                    print("\n".join(history.lines))
                if history.broken:
                    failed += 1
                    short, without = history, set(options.without)
                    if options.shrink and not options.without:
                        short, without = shrink(
                            history, years=options.years, gateway=gateway, seconds=options.shrink
                        )
                    print(told(short, years=options.years, without=without), flush=True)
        gateway.close()
    seconds = time.monotonic() - began
    for name, count in sorted(tally.items()):
        print(f"{count:8}  {name}")
    print(
        f"seeds={len(seeds)} years={options.years:g} steps={steps} seconds={seconds:.0f} broken={failed}",
        flush=True,
    )
    return 1 if failed else 0
