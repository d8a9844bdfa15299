"""Which mails a person wants: the page, the link, and that both are honored (product §5.3, §15)."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from config.kit.errors import NotVisible
from config.kit.tenancy import connection, tenant_atomic, use_login
from directory.models import AuditEntry, MailPreference, OutgoingMail, Tenant, User
from directory.operations.mail import QUEUE_SQL, queue_mail
from directory.operations.outbox import message_of
from directory.operations.preferences import (
    Wanted,
    preferences_of,
    set_preferences,
    switch_off,
    switch_off_link,
)
from tests.factories import AT, actor_of, client_of, make_relationship, make_tenant, make_user

OFF = Wanted(is_on=False)
OF_EVERYBODY = ["monthly_reminder", "license_given", "license_taken", "trial_started", "hand_over_decided"]
pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

CONTEXT = {
    "product": "Power BI Pro",
    "organization": "Contoso",
    "vendor": "Vendor",
    "link": "https://portal.example/",
    "recurring_billing": False,
    "last_day_at": AT.isoformat(),
    "renews_at": AT.isoformat(),
    "quantity": 3,
    "total_minor": 100,
    "currency": "EUR",
    "time_zone": "Europe/Amsterdam",
}


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat")


def tell(user: User, kind: str, event: str = "1") -> list[OutgoingMail]:
    """Queue a mail as operations do; what is in the outbox then."""
    with tenant_atomic(user.tenant_id):
        queue_mail(kind, event_key=event, to=[user], tenant_id=user.tenant_id, context=CONTEXT, at=AT)
        return list(OutgoingMail.objects.filter(kind=kind).order_by("id"))


def rows(user: User) -> list[tuple[str, bool]]:
    with tenant_atomic(user.tenant_id):
        return list(MailPreference.objects.order_by("id").values_list("kind", "is_on"))


def test_everything_is_on_until_a_person_says_otherwise(pat: User) -> None:
    assert set(preferences_of(actor_of(pat)).values()) == {Wanted(is_on=True, is_daily=False)}


def test_what_is_switched_off_is_no_mail_and_on_again_it_is(pat: User) -> None:
    actor = actor_of(pat)

    changed = set_preferences(actor=actor, wanted={"monthly_reminder": OFF}, at=AT)
    off = tell(pat, "monthly_reminder")
    set_preferences(actor=actor, wanted={"monthly_reminder": Wanted()}, at=AT)
    on = tell(pat, "monthly_reminder", "2")

    assert changed == ["monthly_reminder"]
    assert [mail.state for mail in off] == ["portal"]
    assert [mail.state for mail in on] == ["portal", "queued"]
    with tenant_atomic(pat.tenant_id):
        entries = AuditEntry.objects.filter(code="directory.mail_preference.changed").order_by("id")
        assert [entry.after for entry in entries] == [
            {"monthly_reminder": False},
            {"monthly_reminder": True},
        ]


@pytest.mark.parametrize(
    "kind", ["receipt", "payment_failed", "renewal_reminder", "price_rise", "trial_ending"]
)
def test_what_a_person_must_know_is_never_off(pat: User, kind: str) -> None:
    changed = set_preferences(actor=actor_of(pat), wanted={kind: OFF}, at=AT)

    assert (changed, rows(pat)) == ([], [])
    assert [mail.state for mail in tell(pat, kind)] == ["queued"]


def test_a_sweep_honors_it_too(pat: User, contoso: Tenant) -> None:
    colleague = make_user(contoso)
    set_preferences(actor=actor_of(pat), wanted={"monthly_reminder": OFF}, at=AT)
    source = (
        "WITH mail AS (SELECT tenant_id, 'monthly_reminder' AS kind, 'x' AS event_key, id AS owner_id,"
        " '{}'::jsonb AS context FROM directory_user) "
    )

    with use_login("worker"), connection().cursor() as cursor:
        cursor.execute(source + QUEUE_SQL.format(source="mail"), {"at": AT})

    with tenant_atomic(contoso.pk):
        assert set(OutgoingMail.objects.values_list("to_user_id", "state")) == {
            (pat.pk, "portal"),
            (colleague.pk, "queued"),
        }


def test_who_acts_for_a_customer_has_no_mails_there(contoso: Tenant) -> None:
    partner = make_tenant()
    petra = make_user(partner)
    make_relationship(contoso, partner, roles=("global_admin",), users=(petra,))

    with pytest.raises(NotVisible):
        set_preferences(actor=actor_of(petra, contoso), wanted={"bill_due": OFF}, at=AT)


def ticked(page: str) -> list[str]:
    return re.findall(r'value="(\w+)" checked', page)


def test_the_page_of_a_member_shows_no_kinds_of_admins_and_leaves_them_alone(pat: User) -> None:
    browser, address = client_of(pat), reverse("directory:notifications")
    before = browser.get(address).content.decode()

    saved = browser.post(address, {"kind": ["trial_started", "bill_due", "no_such_kind"]})
    after = browser.get(address).content.decode()

    assert ticked(before) == OF_EVERYBODY
    assert "For admins" not in before
    assert saved.status_code == 303
    assert ticked(after) == ["trial_started"]
    assert {kind for kind, _is_on in rows(pat)} == {*OF_EVERYBODY} - {"trial_started"}


@pytest.mark.parametrize("role", ["global_admin", "billing_admin"])
def test_the_page_of_who_gets_them_shows_and_saves_the_kinds_of_admins(contoso: Tenant, role: str) -> None:
    admin = make_user(contoso, roles=(role,))
    browser, address = client_of(admin), reverse("directory:notifications")
    before = browser.get(address).content.decode()

    browser.post(address, {"kind": ["purchase_notice"], "purchase_notice:when": "daily"})
    after = browser.get(address).content.decode()

    assert ticked(before) == [
        *OF_EVERYBODY,
        "purchase_notice",
        "at_once",
        "bill_due",
        "cancel_request_answered",
    ]
    assert ticked(after) == ["purchase_notice", "daily"]
    assert preferences_of(actor_of(admin))["purchase_notice"] == Wanted(is_on=True, is_daily=True)


@pytest.mark.parametrize("role", ["license_admin", "user_admin", "global_reader"])
def test_other_roles_get_no_mails_of_purchases_and_see_none(contoso: Tenant, role: str) -> None:
    actor = actor_of(make_user(contoso, roles=(role,)))

    assert list(preferences_of(actor)) == OF_EVERYBODY


def test_only_what_has_a_digest_can_be_had_once_a_day(pat: User) -> None:
    changed = set_preferences(actor=actor_of(pat), wanted={"trial_started": Wanted(is_daily=True)}, at=AT)

    assert (changed, rows(pat)) == ([], [])


def link_of(user: User, kind: str) -> tuple[str, OutgoingMail]:
    (mail,) = tell(user, kind)
    return switch_off_link(mail), mail


def test_the_mail_brings_a_link_that_acts_only_when_it_is_posted(pat: User) -> None:
    link, mail = link_of(pat, "monthly_reminder")
    message = message_of(mail)
    path = "/" + link.split("/", 3)[3]

    shown = Client().get(path)
    before = rows(pat)
    done = Client(enforce_csrf_checks=True).post(path, {"List-Unsubscribe": "One-Click"})
    again = Client().post(path)

    assert link in message.body
    assert link in str(message.alternatives[0][0])
    assert message.extra_headers["List-Unsubscribe"] == f"<{link}>"
    assert message.extra_headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert "Switch off" in shown.content.decode()
    assert (shown.status_code, before) == (200, [])
    assert (done.status_code, again.status_code) == (200, 200)
    assert rows(pat) == [("monthly_reminder", False)]


def test_a_mail_that_is_always_sent_has_no_such_link(pat: User) -> None:
    link, mail = link_of(pat, "renewal_reminder")

    assert link == ""
    assert "List-Unsubscribe" not in message_of(mail).extra_headers
    assert "/my/notifications/off/" not in message_of(mail).body


def test_a_forged_or_foreign_link_is_not_there_and_changes_nothing(pat: User) -> None:
    link, _mail = link_of(pat, "monthly_reminder")
    token = link.rstrip("/").rsplit("/", 1)[1]

    for forged in ("x", token[:-1] + ("A" if token[-1] != "A" else "B"), token.replace(":", "", 1)):
        path = reverse("directory:switch-off", args=[forged])
        assert Client().get(path).status_code == 404
        assert Client().post(path).status_code == 404
        with pytest.raises(NotVisible):
            switch_off(token=forged, at=AT)

    assert rows(pat) == []
