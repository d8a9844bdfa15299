"""Exports of Your products: what more memory 100,000 subscriptions take than 10,000.

    python -m benchmarks.export --rows 100000 --small 10000

Each export is made by a process of its own, as a person gets it: posted, worked on as a job where it is long, and
downloaded; the process then says how much memory it had at most. Web server and worker are one process here, so that
neither's memory is left out.

`memory_mb`: by how much the larger export needed more, of CSV and XLSX the worse. At most 50 (architecture §11).
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.test import override_settings  # noqa: E402

from benchmarks.harness import plain_files, print_figures, signed_in  # noqa: E402
from commerce.operations.catalogue import PRICES_VALID_FROM, load_catalogue  # noqa: E402
from commerce.operations.seeding import Seeded, Wanted, seed_customers  # noqa: E402
from config.kit.clock import now  # noqa: E402
from config.kit.tenancy import tenant_atomic, use_login  # noqa: E402
from directory.models import User  # noqa: E402
from directory.operations.jobs import run_jobs  # noqa: E402

FORMS = ("csv", "xlsx")
ADDRESS = "/admin/billing/your-products/export/"
# What is left when the difference is within what the allocator gives or takes.
LEAST_MB = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="of the large export (default %(default)s)")
    parser.add_argument("--small", type=int, default=10_000, help="of the small one (default %(default)s)")
    parser.add_argument("--one", nargs=3, metavar=("FORM", "TENANT", "ADMIN"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        form, tenant_id, admin_id = options.one
        export(form, int(tenant_id), int(admin_id))
        return
    with use_login("owner"):
        load_catalogue(at=PRICES_VALID_FROM)
    small, large = (seeded(size, seed) for seed, size in enumerate((options.small, options.rows), start=1))
    growth = {}
    for form in FORMS:
        before, after = peak_mb(form, small), peak_mb(form, large)
        growth[form] = after - before
        print(
            f"{form}: {before:.1f} MB for {options.small:,} rows, {after:.1f} MB for {options.rows:,}",
            flush=True,
        )
    print_figures(memory_mb=max(LEAST_MB, *growth.values()))


def seeded(size: int, seed: int) -> Seeded:
    with use_login("owner"):
        return seed_customers(
            Wanted(tenants=1, subscriptions=size, large=size), at=datetime.now(UTC), seed=seed
        )


def peak_mb(form: str, customer: Seeded) -> float:
    """The most memory of a process that makes and fetches one export."""
    one = [form, str(customer.tenant_id), str(customer.admin_id)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.export", "--one", *one],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    said, _newline, peak = done.stdout.strip().rpartition("\n")
    print(said, flush=True)
    return float(peak)


def export(form: str, tenant_id: int, admin_id: int) -> None:
    """Make and fetch one export, and print how much memory that took at most, in MB."""
    with tenant_atomic(tenant_id):
        admin = User.objects.get(pk=admin_id)
    began = time.perf_counter()
    with plain_files(), override_settings(EXPORTS_PER_HOUR=1_000_000):
        client = signed_in(admin)
        response = client.post(ADDRESS, {"format": form, "query": ""})
        if response.status_code == 303:
            run_jobs(clock=now, seconds=3600)
            response = client.get(f"{response['Location']}file/")
        assert response.status_code == 200, response.status_code
        size = sum(len(piece) for piece in response.streaming_content)
    print(f"{form}: {size / 1e6:.1f} MB of file in {time.perf_counter() - began:.1f} s")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
