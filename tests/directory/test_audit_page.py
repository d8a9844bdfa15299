"""The audit trail: who reads what of it, its filters and pages, one entry in words, its files (product §2, §12)."""

import csv
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.urls import reverse

from config.kit.actors import Actor
from config.kit.sheets import plain_text
from config.kit.tenancy import tenant_atomic
from directory import trail
from directory.models import AuditEntry
from directory.operations.audit import record
from tests.factories import (
    AT,
    actor_of,
    client_of,
    make_bill,
    make_relationship,
    make_self_service_subscription,
    make_tenant,
    make_user,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_exports_yet():
    from config.kit.rate import _valkey

    _valkey().flushdb()


def note(actor, code, *, at=AT, target=("thing", "1"), label="", **facts):
    with tenant_atomic(actor.tenant_id):
        record(actor, code, at=at, target_type=target[0], target_id=target[1], target_label=label, **facts)
        return AuditEntry.objects.order_by("-pk").values_list("pk", flat=True)[0]


def codes(page):
    """What the page lists, without who signed in to read it."""
    listed = [row["entry"].code for row in page.context["rows"]]
    return [code for code in listed if code != "directory.user.signed_in"]


def read(user, acting_for=None, **params):
    return client_of(user, acting_for).get(reverse("portal:audit"), params)


def one_of_each(tenant):
    """An entry of each area, oldest first."""
    for area, beginnings in trail.BEGINNINGS.items():
        note(
            Actor.system(tenant.pk),
            f"{beginnings[0]}noted" if beginnings[0][-1] == "." else beginnings[0],
            label=area,
        )


def areas(page):
    return {row["entry"].target_label for row in page.context["rows"] if row["entry"].door == "job"}


@pytest.mark.parametrize("role", ["global_admin", "global_reader"])
def test_global_admins_and_readers_read_all_of_it(role):
    tenant = make_tenant()
    one_of_each(tenant)

    assert areas(read(make_user(tenant, roles=(role,)))) == set(trail.AREAS)


def test_a_billing_admin_reads_purchases_bills_and_policies():
    tenant = make_tenant()
    one_of_each(tenant)
    bill = make_user(tenant, roles=("billing_admin",))

    page = read(bill)

    assert areas(page) == {"purchases", "bills", "policies"}
    assert [area for area, _title in page.context["areas"]] == ["", "purchases", "bills", "policies"]
    assert read(bill, area="roles").status_code == 422


@pytest.mark.parametrize("role", ["license_admin", "user_admin", ""])
def test_others_have_no_such_page(role):
    tenant = make_tenant()
    entry = note(Actor.system(tenant.pk), "commerce.subscription.canceled")
    user = make_user(tenant, roles=(role,) if role else ())
    browser = client_of(user)

    assert browser.get(reverse("portal:audit")).status_code == 404
    assert browser.get(reverse("portal:audit-entry", args=[entry])).status_code == 404
    assert browser.post(reverse("portal:audit-export"), {"format": "csv"}).status_code == 404


def test_a_purchaser_reads_of_the_own_purchases_and_bills_alone():
    tenant = make_tenant()
    pat, other = (make_user(tenant, purchaser_since=AT) for _ in range(2))
    mine, theirs = (make_self_service_subscription(each) for each in (pat, other))
    my_bill, their_bill = make_bill(mine), make_bill(theirs)
    system = Actor.system(tenant.pk)
    note(system, "commerce.subscription.a", target=("subscription", str(mine.key)))
    note(system, "commerce.bill.b", target=("bill", my_bill.number))
    note(system, "commerce.subscription.c", target=("subscription", str(theirs.key)))
    foreign = note(system, "commerce.bill.d", target=("bill", their_bill.number))
    note(system, "directory.user.e", target=("user", str(pat.key)))

    page = read(pat)

    noted = [code for code in codes(page) if code[-2] == "."]
    assert noted == ["commerce.bill.b", "commerce.subscription.a"]
    targets = {row["entry"].target_id for row in page.context["rows"]}
    assert targets <= {str(mine.key), my_bill.number}
    assert client_of(pat).get(reverse("portal:audit-entry", args=[foreign])).status_code == 404


def test_entries_of_another_organization_do_not_exist():
    there, here = make_tenant(), make_tenant()
    entry = note(Actor.system(there.pk), "directory.role.granted")
    browser = client_of(make_user(here, roles=("global_admin",)))

    foreign = browser.get(reverse("portal:audit-entry", args=[entry]))
    missing = browser.get(reverse("portal:audit-entry", args=[2**62]))
    beyond = browser.get(reverse("portal:audit-entry", args=[2**70]))

    assert (foreign.status_code, missing.status_code, beyond.status_code) == (404, 404, 404)
    assert foreign.content == missing.content == beyond.content


def test_a_partner_reads_as_the_delegated_role_and_is_named_with_both_organizations():
    contoso, northwind = make_tenant(name="Contoso"), make_tenant(name="Northwind Partners")
    petra = make_user(northwind, name="Petra")
    make_relationship(contoso, northwind, roles=("billing_admin",), users=(petra,), name="Licensing")
    entry = note(actor_of(petra, contoso), "policies.default.changed")
    note(Actor.system(contoso.pk), "directory.role.granted")

    page = read(petra, contoso)
    detail = client_of(make_user(contoso, roles=("global_admin",))).get(
        reverse("portal:audit-entry", args=[entry])
    )

    assert codes(page) == ["policies.default.changed"]
    assert "Northwind Partners: Licensing, for Contoso" in page.text
    assert detail.context["who"] == "Petra of Northwind Partners: Licensing, for Contoso"


def test_filters_narrow_and_add_up():
    tenant = make_tenant(time_zone="Europe/Amsterdam")
    gina, greg = (make_user(tenant, name=name, roles=("global_admin",)) for name in ("Gina", "Greg"))
    midnight = AT.replace(hour=23, minute=0)  # 00:00 of 11 March there
    for actor, code, at, label in (
        (actor_of(gina), "directory.role.granted", AT, "Mike"),
        (actor_of(greg), "directory.role.granted", midnight - timedelta(seconds=1), "Erik"),
        (actor_of(greg), "directory.role.revoked", midnight, "Erik"),
        (actor_of(greg), "directory.group.created", midnight, "Finance 100%"),
    ):
        note(actor, code, at=at, label=label, target=("user", label))

    def found(**params):
        page = client_of(gina).get(reverse("portal:audit"), params)
        return [(row["entry"].code.split(".")[-1], row["entry"].target_label) for row in page.context["rows"]]

    assert found(who="greg", area="roles") == [("revoked", "Erik"), ("granted", "Erik")]
    assert found(about="mike") == [("granted", "Mike")]
    assert found(about="100%") == [("created", "Finance 100%")]
    assert found(code="directory.role.granted") == [("granted", "Erik"), ("granted", "Mike")]
    assert found(until="2026-03-10", who="g") == [("granted", "Erik"), ("granted", "Mike")]
    assert found(since="2026-03-11", until="2026-03-11", area="roles") == [("revoked", "Erik")]
    assert found(about="nobody") == []


@pytest.mark.parametrize(
    "params",
    [
        {"since": "yesterday"},
        {"since": "0001-01-01"},
        {"until": "9999-12-31"},
        {"since": "2026-03-02", "until": "2026-03-01"},
        {"area": "weather"},
        {"page": "nonsense"},
    ],
)
def test_a_filter_that_makes_no_sense_is_said(params):
    gina = make_user(make_tenant(), roles=("global_admin",))

    assert read(gina, **params).status_code in (404, 422)


def test_signing_in_is_an_area_of_its_own_though_it_is_said_of_a_person():
    assert trail.area_of("directory.user.signed_in") == "sign_in"
    assert trail.area_of("directory.user.created_at_sign_in") == "people"
    tenant = make_tenant()
    gina = make_user(tenant, roles=("global_admin",))
    note(actor_of(gina), "directory.user.created", label="Mike")

    assert codes(read(gina, area="people")) == ["directory.user.created"]
    signed_in = {row["entry"].code for row in read(gina, area="sign_in").context["rows"]}
    assert signed_in == {"directory.user.signed_in"}


def test_pages_by_key_there_and_back_at_a_fixed_number_of_queries(django_assert_num_queries):
    tenant = make_tenant()
    browser = client_of(make_user(tenant, roles=("global_admin",)))
    for number in range(120):
        note(Actor.system(tenant.pk), "directory.job.started", label=f"Job {number:03}")
    address = reverse("portal:audit")
    params = {"area": "jobs"}
    browser.get(address, params)

    with django_assert_num_queries(14):
        first = browser.get(address, params)
    second = browser.get(address + first.context["next"])
    third = browser.get(address + second.context["next"])
    back = browser.get(address + third.context["back"])

    pages = [
        [row["entry"].target_label for row in page.context["rows"]] for page in (first, second, third, back)
    ]
    assert pages[0] + pages[1] + pages[2] == [f"Job {number:03}" for number in reversed(range(120))]
    assert pages[3] == pages[1]


def test_an_entry_says_in_words_what_was_before_and_after_and_leads_to_what_it_is_about():
    tenant = make_tenant(time_zone="Europe/Amsterdam")
    gina, mike = make_user(tenant, name="Gina", roles=("global_admin",)), make_user(tenant, name="Mike")
    entry = note(
        actor_of(gina),
        "directory.role.granted",
        target=("user", str(mike.key)),
        label="Mike",
        before={"role": None},
        after={
            "role": "billing_admin",
            "ends_at": AT.isoformat(),
            "is_daily": True,
            "limit": {"sum_minor": 5},
        },
    )

    page = client_of(gina).get(reverse("portal:audit-entry", args=[entry]))

    assert [tuple(change) for change in page.context["changes"]] == [
        ("Ends", "", "10 Mar 2026, 10:30"),
        ("Is daily", "", "yes"),
        ("Limit: Sum", "", "5 (smallest units)"),
        ("Role", "none", "Billing admin"),
    ]
    assert str(page.context["title"]) == "Role given"
    assert page.context["target_page"] == reverse("portal:person", args=[mike.key])


def test_the_list_says_to_whom_a_license_went_and_what_an_entry_without_a_name_is_about():
    tenant = make_tenant()
    gina = make_user(tenant, name="Gina", roles=("global_admin",))
    facts = {"target": ("subscription", "1"), "label": "Power BI Pro"}
    note(actor_of(gina), "licensing.license.assigned", **facts, after={"user": "Erik Evers"})
    note(actor_of(gina), "licensing.license.unassigned", **facts, before={"user": "Daan Hendriks"})
    note(actor_of(gina), "commerce.card.added", target=("card", "1"))
    note(actor_of(gina), "commerce.attempt.failed", target=("attempt", "1"))

    page = read(gina)

    about = [
        (row["about"], row["person"]) for row in page.context["rows"] if "signed_in" not in row["entry"].code
    ]
    assert [(str(what), whom) for what, whom in about] == [
        ("Charge", ""),
        ("Card", ""),
        ("Power BI Pro", "Daan Hendriks"),
        ("Power BI Pro", "Erik Evers"),
    ]
    assert "<small>Erik Evers</small>" in page.text


def exported(user, form, **params):
    query = "&".join(f"{name}={value}" for name, value in params.items())
    response = client_of(user).post(reverse("portal:audit-export"), {"format": form, "query": query})
    assert response.status_code == 200
    return response, response.getvalue().decode()


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])
def test_the_files_hold_the_filtered_trail_over_several_chunks_and_run_nothing(monkeypatch):
    monkeypatch.setattr("directory.queries.audit.CHUNK", 2)
    tenant = make_tenant()
    gina = make_user(tenant, roles=("global_admin",))
    labels = ["=1+1", "@cmd", "Plain", "\tTab", "-2"]
    for label in labels:
        note(Actor.system(tenant.pk), "directory.job.started", label=label, after={"formula": label})
    note(Actor.system(make_tenant().pk), "directory.job.started", label="Foreign")

    response, text = exported(gina, "csv", area="jobs")
    _response, raw = exported(gina, "json", area="jobs")

    head, *rows = csv.reader(text.lstrip("\ufeff").splitlines())
    targets = [row[head.index("target")] for row in rows]
    assert [plain_text(cell) for cell in targets] == labels[::-1]
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t"))]
    entries = json.loads(raw)["entries"]
    assert [entry["target"] for entry in entries] == labels[::-1]
    assert entries[0]["after"] == {"formula": "-2"}
    assert re.search(r'filename="audit-trail-\d{4}-\d\d-\d\d\.csv"', response["Content-Disposition"])


def test_another_form_of_file_and_too_many_are_refused(settings):
    settings.EXPORTS_PER_HOUR = 1
    browser = client_of(make_user(make_tenant(), roles=("global_admin",)))
    address = reverse("portal:audit-export")

    assert browser.post(address, {"format": "exe"}).status_code == 422
    assert browser.post(address, {"format": "json"}).status_code == 200
    assert browser.post(address, {"format": "json"}).status_code == 429


def test_every_code_that_is_written_has_words_and_an_area():
    found = set()
    pattern = re.compile(r"""["'](?:directory|policies|commerce|licensing)\.[a-z_]+\.[a-z_]+["']""")
    for app in ("directory", "policies", "commerce", "licensing"):
        for path in Path(settings.BASE_DIR, app).rglob("*.py"):
            text = path.read_text()
            if "record" in text or "directory_auditentry" in text:
                found |= {match.strip("\"'") for match in pattern.findall(text)}
    found -= {code for code in found if code.split(".")[1] in ("urls", "admin_urls", "tasks", "apps")}

    assert len(found) > 90
    assert sorted(code for code in found if not trail.is_named(code)) == []
    assert sorted(code for code in found if not trail.area_of(code)) == []
