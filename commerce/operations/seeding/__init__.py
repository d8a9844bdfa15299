"""Made-up customers by the thousand, for benchmarks and for trying a large installation.

Everything is worked out in temporary tables and written by one statement per table, whole: each subscription
with order, bill, payment, history and audit as the operations would have left them, so that no invariant breaks.
"""

from commerce.operations.seeding.customers import (
    LARGE_TABLES,
    Due,
    RealCustomers,
    Seeded,
    Wanted,
    seed_customers,
)

__all__ = ["LARGE_TABLES", "Due", "RealCustomers", "Seeded", "Wanted", "seed_customers"]
