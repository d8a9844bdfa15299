"""Domains that are proved by a TXT record, asked of a real name server (product §3.2; reliability §6)."""

import socket
import threading
from contextlib import suppress
from datetime import timedelta

import pytest
from django.conf import settings as django_settings
from django.urls import reverse

from config.demo import names as name_server
from config.kit.actors import Actor
from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.gateways import names as gateway
from directory.models import AuditEntry, Domain, OutgoingMail
from directory.operations.domains import (
    GRACE,
    DomainAdded,
    DomainTaken,
    LastDomain,
    NamesUnavailable,
    NeedsNoRecord,
    RecordMissing,
    add_domain,
    proof_of,
    recheck_domains,
    remove_domain,
    verify_domain,
)
from directory.queries import door_of_address
from tests.concurrency.threads import all_at_once
from tests.factories import actor_of, client_of, make_relationship, make_tenant, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_checks_yet():
    from config.kit.rate import _valkey

    _valkey().flushdb()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The demo's name server, where the settings look for it."""
    (address,) = django_settings.DNS_SERVERS
    host, _colon, port = address.rpartition(":")
    started = name_server.serve(host, int(port), tmp_path_factory.mktemp("names") / "records.json")
    yield started
    started.shutdown()
    started.server_close()


@pytest.fixture
def published(server):
    """Where records are published; empty at first."""
    server.file.unlink(missing_ok=True)
    return server.file


@pytest.fixture
def gina():
    return make_user(make_tenant(name="Contoso"), name="Gina", roles=("global_admin",))


def publish(file, domain):
    proof = proof_of(domain)
    name_server.publish(file, proof.name, proof.value)


def again(domain):
    with tenant_atomic(domain.tenant_id):
        return Domain.objects.get(pk=domain.pk)


def codes(tenant):
    with tenant_atomic(tenant.pk):
        rows = AuditEntry.objects.filter(tenant=tenant, code__startswith="directory.domain.")
        return [code.rpartition(".")[2] for code in rows.order_by("pk").values_list("code", flat=True)]


def told(tenant):
    with tenant_atomic(tenant.pk):
        rows = OutgoingMail.objects.filter(tenant=tenant, kind="sign_in_changed").order_by("pk")
        return [(row.to_user_id, row.context["what"], row.context["subject"]) for row in rows]


def proved(actor, name, published, at):
    domain = add_domain(actor=actor, name=name, at=at)
    publish(published, domain)
    return verify_domain(actor=actor, domain_id=domain.pk, at=at)


def test_a_domain_leads_here_once_its_record_is_there(gina, published, at):
    actor = actor_of(gina)
    domain = add_domain(actor=actor, name=" Contoso-Labs.Example. ", at=at)
    before = door_of_address("mike@contoso-labs.example")
    with pytest.raises(RecordMissing):
        verify_domain(actor=actor, domain_id=domain.pk, at=at)
    publish(published, domain)

    verify_domain(actor=actor, domain_id=domain.pk, at=at)
    verify_domain(actor=actor, domain_id=domain.pk, at=at)

    assert before is None
    door = door_of_address("mike@contoso-labs.example")
    assert door is not None
    assert door.tenant_id == gina.tenant_id
    assert codes(gina.tenant) == ["added", "verified"]
    assert told(gina.tenant) == [(gina.pk, "domain_verified", "contoso-labs.example")]


def test_the_record_of_another_organization_proves_nothing(gina, published, at):
    other = make_user(make_tenant(), roles=("global_admin",))
    theirs = add_domain(actor=actor_of(other), name="shared.example", at=at)
    publish(published, theirs)
    ours = add_domain(actor=actor_of(gina), name="shared.example", at=at)

    with pytest.raises(RecordMissing):
        verify_domain(actor=actor_of(gina), domain_id=ours.pk, at=at)

    assert again(ours).verified_at is None
    assert proof_of(ours).value != proof_of(theirs).value


def test_a_domain_that_another_organization_proved_cannot_be_taken(gina, published, at):
    other = make_user(make_tenant(), roles=("global_admin",))
    proved(actor_of(other), "shared.example", published, at)
    ours = add_domain(actor=actor_of(gina), name="shared.example", at=at)
    publish(published, ours)

    with pytest.raises(DomainTaken):
        verify_domain(actor=actor_of(gina), domain_id=ours.pk, at=at)

    assert again(ours).verified_at is None
    door = door_of_address("x@shared.example")
    assert door is not None
    assert door.tenant_id == other.tenant_id
    assert told(gina.tenant) == []


def test_adding_a_domain_tells_nothing_of_other_organizations_and_takes_it_from_nobody(gina, at):
    squatter = make_user(make_tenant(), roles=("global_admin",))

    add_domain(actor=actor_of(squatter), name="wanted.example", at=at)
    ours = add_domain(actor=actor_of(gina), name="wanted.example", at=at)
    with pytest.raises(DomainAdded):
        add_domain(actor=actor_of(gina), name="WANTED.example", at=at)

    assert again(ours).verified_at is None


@pytest.mark.parametrize(
    "name",
    [
        *("", "example", ".example", "a..example", "-a.example", "a-.example", "a b.example", "a@b.example"),
        *(
            "http://a.example",
            "a.example/x",
            "*.example",
            "_x.example",
            "a.example\n",
            "1.2.3.4\x00",
            "x" * 300 + ".example",
        ),
        *("[::1]", "a.example:53", "a\u202e.example", "\uff0e.example"),
    ],
)
def test_what_is_no_domain_is_not_added(gina, at, name):
    if name == "a.example\n":
        assert add_domain(actor=actor_of(gina), name=name, at=at).name == "a.example"
        return
    with pytest.raises(Malformed):
        add_domain(actor=actor_of(gina), name=name, at=at)


def test_a_name_in_other_letters_is_kept_as_the_name_servers_know_it(gina, published, at):
    domain = proved(actor_of(gina), "M\u00dcNCHEN.example", published, at)

    assert domain.name == "xn--mnchen-3ya.example"
    assert door_of_address("eva@m\u00fcnchen.example") is not None


@pytest.mark.parametrize("name", ["servfail.example", "silent.example"])
def test_where_nobody_answers_nothing_is_decided(gina, published, at, name, monkeypatch):
    monkeypatch.setattr(gateway, "SECONDS", 0.5)
    domain = add_domain(actor=actor_of(gina), name=name, at=at)
    publish(published, domain)

    with pytest.raises(NamesUnavailable):
        verify_domain(actor=actor_of(gina), domain_id=domain.pk, at=at)

    assert (again(domain).verified_at, again(domain).checked_at) == (None, None)


def test_a_server_that_is_not_there_is_no_answer(gina, at, settings, monkeypatch):
    monkeypatch.setattr(gateway, "SECONDS", 0.5)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        settings.DNS_SERVERS = [f"127.0.0.1:{taken.getsockname()[1]}"]
        domain = add_domain(actor=actor_of(gina), name="a.example", at=at)

        with pytest.raises(NamesUnavailable):
            verify_domain(actor=actor_of(gina), domain_id=domain.pk, at=at)


@pytest.mark.parametrize("reply", [b"", b"\x00" * 5, b"\xff" * 512, b"HTTP/1.1 200 OK\r\n\r\n"])
def test_nonsense_is_no_answer(gina, at, settings, monkeypatch, reply):
    monkeypatch.setattr(gateway, "SECONDS", 0.5)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as liar:
        liar.bind(("127.0.0.1", 0))
        settings.DNS_SERVERS = [f"127.0.0.1:{liar.getsockname()[1]}"]

        def lie():
            _question, asker = liar.recvfrom(4096)
            liar.sendto(reply, asker)

        thread = threading.Thread(target=lie)
        thread.start()
        domain = add_domain(actor=actor_of(gina), name="a.example", at=at)
        with pytest.raises(NamesUnavailable):
            verify_domain(actor=actor_of(gina), domain_id=domain.pk, at=at)
        thread.join()

    assert again(domain).verified_at is None


def test_only_the_exact_value_proves(gina, published, at):
    domain = add_domain(actor=actor_of(gina), name="a.example", at=at)
    proof = proof_of(domain)
    for text in (
        f"x{proof.value}",
        f"{proof.value} ",
        proof.value.upper(),
        "v=spf1 -all",
        "\u00ff",
        "a" * 3000,
    ):
        name_server.publish(published, proof.name, text)
    name_server.publish(published, domain.name, proof.value)

    with pytest.raises(RecordMissing):
        verify_domain(actor=actor_of(gina), domain_id=domain.pk, at=at)
    name_server.publish(published, proof.name.upper(), proof.value)

    assert verify_domain(actor=actor_of(gina), domain_id=domain.pk, at=at).verified_at == at


@pytest.mark.parametrize(
    ("role", "error"), [("global_reader", NotAllowed), ("user_admin", NotVisible), ("", NotVisible)]
)
def test_others_change_no_domain(at, role, error):
    tenant = make_tenant()
    actor = actor_of(make_user(tenant, roles=(role,) if role else ()))
    with tenant_atomic(tenant.pk):
        (domain,) = Domain.objects.filter(tenant=tenant)

    for deed in (
        lambda: add_domain(actor=actor, name="b.example", at=at),
        lambda: verify_domain(actor=actor, domain_id=domain.pk, at=at),
        lambda: remove_domain(actor=actor, domain_id=domain.pk, at=at),
    ):
        with pytest.raises(error):
            deed()

    assert codes(tenant) == []


def test_a_delegated_global_admin_changes_no_domain(at):
    customer, partner = make_tenant(), make_tenant()
    petra = make_user(partner)
    make_relationship(customer, partner, roles=("global_admin",), users=(petra,))

    with pytest.raises(NotVisible):
        add_domain(actor=actor_of(petra, customer), name="b.example", at=at)


def test_the_last_domain_in_use_stays_and_any_other_goes(gina, published, at):
    actor = actor_of(gina)
    with tenant_atomic(gina.tenant_id):
        (first,) = Domain.objects.filter(tenant=gina.tenant)
    unproved = add_domain(actor=actor, name="b.example", at=at)
    with pytest.raises(LastDomain):
        remove_domain(actor=actor, domain_id=first.pk, at=at)
    remove_domain(actor=actor, domain_id=unproved.pk, at=at)
    proved(actor, "c.example", published, at)

    remove_domain(actor=actor, domain_id=first.pk, at=at)

    assert door_of_address(f"x@{first.name}") is None
    assert told(gina.tenant)[-1] == (gina.pk, "domain_removed", first.name)


def test_domains_of_another_organization_do_not_exist(gina, at):
    with tenant_atomic(make_tenant().pk):
        strange = Domain.objects.get()

    with pytest.raises(NotVisible):
        remove_domain(actor=actor_of(gina), domain_id=strange.pk, at=at)
    with pytest.raises(NotVisible):
        verify_domain(actor=actor_of(gina), domain_id=strange.pk, at=at)


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])
class TestLookingAgain:
    """What a sweep finds a day later."""

    def test_a_record_that_stays_is_noted(self, gina, published, at):
        domain = proved(actor_of(gina), "b.example", published, at)

        early = recheck_domains(at=at + timedelta(hours=23))
        late = recheck_domains(at=at + timedelta(days=1))

        assert (early, late) == (0, 1)
        assert (again(domain).checked_at, again(domain).missing_since) == (at + timedelta(days=1), None)
        assert codes(gina.tenant) == ["added", "verified"]

    def test_one_that_is_gone_for_a_week_ends_the_proof_and_admins_are_told_twice(self, gina, published, at):
        domain = proved(actor_of(gina), "b.example", published, at)
        name_server.withdraw(published, proof_of(domain).name)
        first = at + timedelta(days=1)

        for days in range(1, 9):
            recheck_domains(
                at=at + timedelta(days=days) - timedelta(seconds=1)
                if days == 8
                else at + timedelta(days=days)
            )
        before = door_of_address("x@b.example")
        recheck_domains(at=first + GRACE + timedelta(days=1))

        assert before is not None
        assert door_of_address("x@b.example") is None
        assert codes(gina.tenant) == ["added", "verified", "record_missing", "lapsed"]
        assert [what for _to, what, _subject in told(gina.tenant)] == [
            "domain_verified",
            "domain_missing",
            "domain_lapsed",
        ]

    def test_one_that_comes_back_in_time_is_as_before(self, gina, published, at):
        domain = proved(actor_of(gina), "b.example", published, at)
        name_server.withdraw(published, proof_of(domain).name)
        recheck_domains(at=at + timedelta(days=1))
        publish(published, domain)

        recheck_domains(at=at + timedelta(days=2))

        assert again(domain).missing_since is None
        assert again(domain).verified_at == at

    def test_the_last_one_keeps_leading_here(self, published, at):
        gina = make_user(make_tenant(domain=None), roles=("global_admin",))
        domain = proved(actor_of(gina), "b.example", published, at)
        name_server.withdraw(published, proof_of(domain).name)

        for days in (1, 9, 20):
            recheck_domains(at=at + timedelta(days=days))

        assert again(domain).verified_at == at
        assert again(domain).missing_since == at + timedelta(days=1)

    def test_silence_decides_nothing_and_holds_up_nobody(self, gina, published, at, monkeypatch):
        monkeypatch.setattr(gateway, "SECONDS", 0.3)
        steady = proved(actor_of(gina), "b.example", published, at)
        with tenant_atomic(gina.tenant_id):
            Domain.objects.create(
                tenant=gina.tenant, name="silent.example", token="t", verified_at=at, checked_at=at
            )

        recheck_domains(at=at + timedelta(days=1))

        assert again(steady).checked_at == at + timedelta(days=1)
        assert door_of_address("x@silent.example") is not None

    def test_of_two_organizations_that_prove_one_domain_at_once_one_has_it(self, published, at):
        admins = [make_user(make_tenant(), roles=("global_admin",)) for _ in range(2)]
        claims = [add_domain(actor=actor_of(admin), name="shared.example", at=at) for admin in admins]
        for claim in claims:
            publish(published, claim)
        outcomes, ready = [], threading.Barrier(2)

        def prove(admin, claim):
            from django.db import connections

            try:
                ready.wait()
                verify_domain(actor=actor_of(admin), domain_id=claim.pk, at=at)
                outcomes.append("proved")
            except DomainTaken:
                outcomes.append("taken")
            finally:
                connections.close_all()

        threads = [threading.Thread(target=prove, args=pair) for pair in zip(admins, claims, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(outcomes) == ["proved", "taken"]

    def test_of_two_whose_week_is_over_at_once_one_keeps_leading_here(self, published, at):
        actor = actor_of(make_user(make_tenant(domain=None), roles=("global_admin",)))
        both = [proved(actor, name, published, at) for name in ("b.example", "c.example")]
        for domain in both:
            name_server.withdraw(published, proof_of(domain).name)
        recheck_domains(at=at + timedelta(days=1))

        def look(number):
            with suppress(RecordMissing):
                verify_domain(actor=actor, domain_id=both[number].pk, at=at + GRACE + timedelta(days=2))

        all_at_once(look, count=2)

        assert sum(again(domain).verified_at is not None for domain in both) == 1


# --- Pages ---------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])
def test_a_global_admin_adds_proves_and_removes_a_domain_on_the_pages(gina, published):
    browser = client_of(gina)

    added = browser.post(reverse("portal:domains"), {"name": "labs.example"})
    page = browser.get(added["Location"])
    missing = browser.post(added["Location"], {"action": "check"})
    name_server.publish(published, page.context["proof"].name, page.context["proof"].value)
    checked = browser.post(added["Location"], {"action": "check"})
    listed = browser.get(reverse("portal:domains"))
    removed = browser.post(added["Location"], {"action": "remove"})

    assert (added.status_code, page.status_code, missing.status_code) == (303, 200, 409)
    assert page.context["proof"].name == "_seatkeeper.labs.example"
    assert "The record was not found." in missing.text
    assert (checked.status_code, removed.status_code) == (303, 303)
    states = {row["domain"].name: str(row["state"]["label"]) for row in listed.context["rows"]}
    assert states["labs.example"] == "In use"
    assert browser.get(added["Location"]).status_code == 404


def test_the_only_domain_is_not_offered_for_removal(gina, at):
    with tenant_atomic(gina.tenant_id):
        only = Domain.objects.get()
    browser, address = client_of(gina), reverse("portal:domain", args=[only.pk])

    page = browser.get(address)
    refused = browser.post(address, {"action": "remove"})

    assert f"Remove {only.name}" not in page.text
    assert "Without this domain nobody could sign in." in page.text
    assert refused.status_code == 409


def test_a_domain_that_is_none_is_said_on_the_page(gina):
    refused = client_of(gina).post(reverse("portal:domains"), {"name": "not a domain"})

    assert refused.status_code == 422
    assert "This is not a domain name." in refused.text


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])
def test_checks_are_limited(gina, published, at):
    domain = add_domain(actor=actor_of(gina), name="labs.example", at=at)
    browser = client_of(gina)
    address = reverse("portal:domain", args=[domain.pk])

    answers = [browser.post(address, {"action": "check"}).status_code for _ in range(21)]

    assert answers == [409] * 20 + [429]


def test_a_reader_sees_domains_and_changes_none(gina, at):
    rhea = make_user(gina.tenant, roles=("global_reader",))
    browser = client_of(rhea)

    assert browser.get(reverse("portal:domains")).context["may_change"] is False
    assert browser.post(reverse("portal:domains"), {"name": "b.example"}).status_code == 403


def test_the_installation_adds_a_domain_that_needs_no_record(at):
    tenant = make_tenant(domain=None)
    domain = add_domain(actor=Actor.system(tenant.pk), name="b.example", is_verified=True, at=at)

    with pytest.raises(NeedsNoRecord):
        verify_domain(actor=Actor.system(tenant.pk), domain_id=domain.pk, at=at)

    assert again(domain).verified_at == at
