"""A small dose of the simulator; and that it is what it says it is (reliability §6, "Time + faults")."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.kit.tenancy import atomic, connection, use_login
from directory.models import User
from tests import factories
from tests.simulation import laws
from tests.simulation.crashes import Death, Died, dying
from tests.simulation.deeds import Deed
from tests.simulation.gateway import Gateway, reached_by_the_portal
from tests.simulation.run import OPENING, run_seed, told
from tests.simulation.world import World, simulated_settings

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """In a folder of its own; the portal speaks to it as long as the test runs."""
    made = Gateway(Path(os.environ["RUN_DIR"]) / "simulated")
    with simulated_settings(), reached_by_the_portal(made):
        yield made
    made.close()
    laws.close()


def test_random_months_keep_every_invariant(gateway: Gateway) -> None:
    history = run_seed(11, years=0.6, gateway=gateway)

    assert history.broken == [], told(history, years=0.6)


def test_the_same_seed_lives_the_same_history(gateway: Gateway) -> None:
    first, second = (run_seed(7, years=0.05, gateway=gateway) for _ in range(2))

    assert first.lines == second.lines
    assert first.digest == second.digest


def test_a_charge_that_nobody_asked_for_is_found(gateway: Gateway) -> None:
    def charge_again(world: World) -> str:
        """What a worker would do that asks by a new intent instead of the one it knows."""
        (charge, *_) = gateway.objects("charge")
        body = f"amount=100&currency=eur&customer={charge['customer']}&metadata[bill]=X&confirm=true"
        body += f"&payment_method={charge['payment_method']}&automatic_payment_methods[enabled]=true"
        body += "&automatic_payment_methods[allow_redirects]=never&off_session=true"
        assert gateway.ask("POST", "/v1/payment_intents", None, body)[1] == 200
        return "charged"

    history = run_seed(1, years=0.2, gateway=gateway, deeds=[Deed("charge_again", 1, charge_again, False)])

    assert any("a charge is booked, or given back whole" in broken for broken in history.broken)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ("UPDATE commerce_subscription SET quantity = quantity + 1", "I-08"),
        ("UPDATE commerce_subscription SET parked_at = now(), parked_reason = 'x'", "nothing is parked"),
        ("UPDATE commerce_orderline SET quantity = quantity + 1", "the seats are those of its orders"),
        (
            "UPDATE commerce_subscription SET state = 'disabled', disabled_at = now(), due_at = now()",
            "the states follow one another as drawn",
        ),
    ],
)
def test_what_a_hand_changes_is_found_at_once(gateway: Gateway, change: str, rule: str) -> None:
    def tamper(world: World) -> str:
        with use_login("owner"), atomic(), connection().cursor() as cursor:
            cursor.execute(change)
        return "changed"

    history = run_seed(1, years=1, gateway=gateway, deeds=[Deed("tamper", 1, tamper, False)])

    assert any(rule in broken for broken in history.broken)
    assert history.steps == len(OPENING) + 1


def test_a_death_leaves_what_was_committed_and_nothing_else(gateway: Gateway) -> None:
    tenant = factories.make_tenant(name="Contoso")

    def hire() -> None:
        with dying(Death(2, is_after=False), gateway):
            factories.make_user(tenant, name="Alice")
            factories.make_user(tenant, name="Bob")
            factories.make_user(tenant, name="Charlie")

    with pytest.raises(Died):
        hire()

    with use_login("worker"):
        assert list(User.objects.filter(tenant=tenant).values_list("name", flat=True)) == ["Alice"]


def test_a_step_that_is_left_out_leaves_the_days_of_the_others(gateway: Gateway) -> None:
    whole = run_seed(7, years=0.05, gateway=gateway)
    part = run_seed(7, years=0.05, gateway=gateway, without={0})

    assert [line[:21] for line in part.lines[:2]] == [line[:21] for line in whole.lines[1:3]]
