"""What staff agree with an organization: prices and days to pay, in its trail (product §6)."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from commerce.models import Agreement, AgreementPrice, Bill, Subscription
from commerce.operations.orders import purchase_centrally
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, Tenant
from tests.factories import AT, actor_of, make_tenant, make_user, plan

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso", domain="contoso.example")


def said(*words: str) -> str:
    out = StringIO()
    call_command("agreement", *words, stdout=out)
    return out.getvalue()


def test_staff_agree_on_prices_and_days_and_the_trail_says_who(contoso: Tenant) -> None:
    said("price", "contoso.example", "power-bi-pro", "monthly", "800", "--staff", "Olga")
    said("price", "contoso.example", "teams-essential", "yearly", "9000", "--staff", "Olga")
    said("terms", "Contoso.example", "14", "--staff", "Olga")

    assert said("show", "contoso.example") == (
        "Contoso: Framework agreement, to be paid in 14 days.\n"
        "power-bi-pro monthly: €8.00\n"
        "teams-essential yearly: €90.00\n"
    )
    with tenant_atomic(contoso.pk):
        entries = list(AuditEntry.objects.order_by("id").values_list("code", "actor_label", "door"))
        assert entries == [
            ("commerce.agreement.made", "Olga", "cli"),
            ("commerce.agreement.price_set", "Olga", "cli"),
            ("commerce.agreement.price_set", "Olga", "cli"),
            ("commerce.agreement.terms_set", "Olga", "cli"),
        ]


def test_a_new_price_holds_for_the_next_purchase_and_not_for_a_running_term(contoso: Tenant) -> None:
    admin = make_user(contoso, roles=("billing_admin",))
    said("price", "contoso.example", "power-bi-pro", "monthly", "800")
    with tenant_atomic(contoso.pk):
        first = purchase_centrally(
            actor=actor_of(admin), product=plan().product, plan=plan(), quantity=2, at=AT
        )

    said("price", "contoso.example", "power-bi-pro", "monthly", "700")
    said("terms", "contoso.example", "0")

    with tenant_atomic(contoso.pk):
        second = purchase_centrally(
            actor=actor_of(admin), product=plan().product, plan=plan(), quantity=2, at=AT
        )
        assert Subscription.objects.get(pk=first.pk).unit_price_minor == 800
        assert Bill.objects.get(subscription=second).total_minor == 1_694
        assert Bill.objects.get(subscription=second).due_at == AT
        assert AgreementPrice.objects.count() == Agreement.objects.count() == 1


def test_saying_the_same_again_writes_nothing(contoso: Tenant) -> None:
    for _again in range(2):
        said("price", "contoso.example", "power-bi-pro", "monthly", "800")
        said("terms", "contoso.example", "30")

    with tenant_atomic(contoso.pk):
        assert AuditEntry.objects.count() == 2


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("show", "contoso.example"), "Not found"),
        (("show", "nobody.example"), "Not found"),
        (("price", "nobody.example", "power-bi-pro", "monthly", "800"), "Not found"),
        (("price", "contoso.example", "no-such-product", "monthly", "800"), "no such product"),
        (("price", "contoso.example", "power-bi-pro", "monthly", "-1"), "minor units"),
        (("price", "contoso.example", "power-bi-pro", "monthly", str(2**63)), "minor units"),
        (("terms", "contoso.example", "366"), "365"),
        (("terms", "contoso.example", "-1"), "365"),
    ],
)
def test_what_cannot_be_agreed_is_refused_with_a_reason(
    contoso: Tenant, words: tuple[str, ...], why: str
) -> None:
    with pytest.raises(CommandError, match=why):
        call_command("agreement", *words)

    with tenant_atomic(contoso.pk):
        assert Agreement.objects.count() == AuditEntry.objects.count() == 0
