"""The demo's data (config/demo/data.py)."""

from datetime import UTC, datetime, timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.conf import settings

from commerce.models import Bill, Product, Subscription, SubscriptionEvent, Trial
from commerce.views.wording import EVENTS
from config.demo import data
from config.demo.staff import app_secret
from config.invariants import violations
from config.kit.clock import now
from config.kit.tenancy import use_login
from directory.factors import APP, code_at
from directory.models import OutgoingMail, Tenant, User
from directory.operations.second_factor import take_code
from licensing.models import Assignment, RequestedPerson, Workspace
from policies.models import PolicyTemplate
from tests.factories import actor_of

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])


def _purchases() -> dict[tuple[str, str], tuple[int, int, str, bool]]:
    """(product, purchaser of a self-service purchase) -> quantity, assigned, state, recurring billing."""
    with use_login("worker"):
        rows = Subscription.objects.select_related("product")
        return {
            (row.product.slug, "" if row.channel == "central" else row.purchaser_name.split()[0]): (
                row.quantity,
                row.assigned,
                row.state,
                row.recurring_billing,
            )
            for row in rows
        }


@pytest.mark.usefixtures("processor")
def test_loading_twice_makes_the_demo_once_with_a_past_that_was_walked_through() -> None:
    at = now()

    data.load(at)
    first = _purchases()
    with use_login("worker"):
        bills = Bill.objects.count()
    data.load(at)

    assert first == {
        ("power-bi-pro", ""): (25, 12, "active", True),
        ("project-plan-3", ""): (5, 3, "active", True),
        ("power-bi-pro", "Pat"): (10, 3, "active", True),
        ("power-apps-per-user", "Dora"): (3, 2, "active", True),
        ("visio-plan-1", "Sam"): (1, 1, "active", True),
        ("power-bi-premium-per-user", "Pat"): (2, 1, "active", False),
        ("visio-plan-2", "Pat"): (2, 2, "active", True),
        ("power-automate-rpa", "Pat"): (3, 2, "active", True),
        ("project-plan-1", "Sam"): (1, 1, "active", False),
    }
    assert _purchases() == first
    with use_login("worker"):
        assert Bill.objects.count() == bills
        assert (Workspace.objects.count(), PolicyTemplate.objects.count()) == (3, 1)
        assert Tenant.objects.count() == 10
        assert User.objects.get(email="dora@contoso.example").status == "disabled"
        assert Assignment.objects.live().count() == 27
        assert SubscriptionEvent.objects.filter(code="kept").count() == 1
        assert set(SubscriptionEvent.objects.values_list("code", flat=True)) <= set(EVENTS)
        for admin in User.objects.filter(email__in=["gina@contoso.example", "bill@contoso.example"]):
            told = OutgoingMail.objects.filter(to_user_id=admin.pk)
            assert told.filter(kind="purchase_notice").count() == 5
            assert told.filter(read_at=None).exists()
            assert told.exclude(read_at=None).exists()
        pat = Bill.objects.filter(
            payer__email="pat@contoso.example", subscription__product__slug="power-bi-pro"
        )
        assert {bill.status for bill in pat} == {"paid"}
        assert pat.count() in (4, 5)
        failed = Subscription.objects.get(product__slug="visio-plan-2")
        assert failed.payment_failed_at is not None
        assert failed.next_try_at is not None
        assert list(Trial.objects.order_by("id").values_list("kind", "product__slug")) == [
            ("card", "power-automate-rpa"),
            ("free", "project-plan-1"),
        ]
        waiting = RequestedPerson.objects.get(state="waiting")
        assert (waiting.user.email, waiting.request.product.slug) == ("mike@contoso.example", "power-bi-pro")
        staff = list(User.objects.filter(tenant__kind="vendor").order_by("email"))
        assert [each.email.partition("@")[0] for each in staff] == ["olga", "oscar", "sven"]
        assert Authenticator.objects.filter(user__in=staff, type=APP).count() == 3
    for somebody in staff:
        # Two minutes on, since a code is never taken twice.
        later = datetime.now(UTC) + timedelta(minutes=2)
        code = code_at(app_secret(somebody.email, key=settings.SECRET_KEY), later)
        assert take_code(actor=actor_of(somebody, at=at), code=code, at=at, real_at=later)
    assert violations(at=datetime.now(UTC)) == []


@pytest.mark.usefixtures("processor")
def test_loading_again_keeps_what_the_vendors_staff_made_of_the_catalogue() -> None:
    with use_login("owner"):
        edited = Product.objects.get(slug="power-bi-pro")
        was = edited.tagline
        Product.objects.filter(pk=edited.pk).update(tagline="As the staff say it")
    try:
        data.load(now())

        assert Product.objects.get(pk=edited.pk).tagline == "As the staff say it"
    finally:
        with use_login("owner"):
            Product.objects.filter(pk=edited.pk).update(tagline=was)
