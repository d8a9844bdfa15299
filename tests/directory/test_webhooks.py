"""Outgoing webhooks: what is told, signed, tried again, given up and sent again (product §16; docs/webhooks.md)."""

import json
import re
import threading
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connections, transaction
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from config.kit.clock import real_now
from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.fetch import Answer
from config.kit.tenancy import tenant_atomic, use_login
from directory import trail
from directory.events import BILLING_TYPES, TYPE_OF_CODE, TYPES
from directory.models import AuditEntry, OutgoingMail, Tenant, User, WebhookDelivery, WebhookEndpoint
from directory.operations import webhook_sending
from directory.operations.audit import entry as audit_entry
from directory.operations.audit import record, record_all
from directory.operations.people import disable_user
from directory.operations.secret_keys import rotate_keys
from directory.operations.webhook_sending import (
    CLAIM,
    GAPS,
    OF_TENANT,
    Due,
    Outcome,
    forget_deliveries,
    send_due,
)
from directory.operations.webhooks import (
    KEPT,
    MOST,
    TooManyEndpoints,
    change_endpoint,
    delete_endpoint,
    pause_endpoint,
    register_endpoint,
    resume_endpoint,
    rotate_secret,
    send_again,
    send_all_again,
    send_test,
)
from licensing.operations.assignments import assign_licenses
from tests.concurrency.threads import all_at_once
from tests.factories import AT, actor_of, client_of, make_subscription, make_tenant, make_user
from tests.receiver import Receiver, listening

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

PAGE = "/admin/webhooks/"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as one:
        yield one


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", roles=("global_admin",))


def register(user: User, receiver: Receiver, *types: str) -> Any:
    """An endpoint at the receiver, told of everything unless types are named."""
    return register_endpoint(
        actor=actor_of(user), name="Ledger", url=receiver.url, types=types or tuple(TYPES), at=AT
    )


def happens(user: User, code: str = "commerce.bill.paid", at: datetime = AT) -> None:
    """One entry of the trail."""
    with tenant_atomic(user.tenant_id):
        record(actor_of(user), code, at=at, target_type="bill", target_id=7, target_label="SK-NL-2026-000007")


def send(at: datetime = AT) -> bool:
    return send_due(clock=lambda: at, real_clock=real_now)


def messages(tenant: Tenant) -> list[WebhookDelivery]:
    with tenant_atomic(tenant.pk):
        return list(WebhookDelivery.objects.order_by("pk"))


def endpoint_of(tenant: Tenant) -> WebhookEndpoint:
    with tenant_atomic(tenant.pk):
        endpoint: WebhookEndpoint = WebhookEndpoint.objects.get()
    return endpoint


def text_of(response: Any) -> str:
    return " ".join(response.content.decode().split())


# --- What is told -----------------------------------------------------------------------------------------


def test_every_code_of_the_catalogue_is_told_as_its_type(gina: User, receiver: Receiver) -> None:
    register(gina, receiver)
    for code in TYPE_OF_CODE:
        happens(gina, code)

    told = {(row.type, row.data["auditEntryId"]) for row in messages(gina.tenant)}

    with tenant_atomic(gina.tenant_id):
        entries = AuditEntry.objects.filter(code__in=TYPE_OF_CODE).values_list("code", "pk")
        assert told == {(TYPE_OF_CODE[code], pk) for code, pk in entries}
    assert {kind for kind, _pk in told} == set(TYPES)


def test_the_catalogue_names_codes_that_the_trail_knows() -> None:
    assert [code for code in TYPE_OF_CODE if not trail.is_named(code)] == []
    assert {
        name for name in TYPES if name.partition(".")[0] in ("purchase", "seats", "bill", "policy")
    } == BILLING_TYPES


def test_only_the_chosen_types_are_told_and_other_organizations_of_nothing(
    gina: User, receiver: Receiver
) -> None:
    register(gina, receiver, "bill.paid")
    fiona = make_user(make_tenant(), roles=("global_admin",))
    register(fiona, receiver, "bill.paid", "user.left")

    happens(gina)
    happens(gina, "directory.user.disabled")
    happens(gina, "directory.user.signed_in")

    assert [row.type for row in messages(gina.tenant)] == ["bill.paid"]
    assert messages(fiona.tenant) == []


def test_a_change_that_is_rolled_back_is_not_told(gina: User, receiver: Receiver) -> None:
    register(gina, receiver)

    with tenant_atomic(gina.tenant_id):
        record(actor_of(gina), "commerce.bill.paid", at=AT, target_type="bill", target_id=7)
        transaction.set_rollback(True)

    assert messages(gina.tenant) == []


def test_many_entries_at_once_are_a_message_each(gina: User, receiver: Receiver) -> None:
    register(gina, receiver)
    with tenant_atomic(gina.tenant_id):
        record_all(
            [
                audit_entry(
                    actor_of(gina),
                    "licensing.license.assigned",
                    at=AT,
                    target_type="subscription",
                    target_id=n,
                )
                for n in range(30)
            ]
        )

    send()

    assert {json.loads(body)["data"]["purchaseId"] for _headers, body in receiver.came} == {
        str(n) for n in range(30)
    }


def test_what_people_do_is_told_with_public_ids_alone(gina: User, receiver: Receiver) -> None:
    mike, central = make_user(gina.tenant, name="Mike"), make_subscription(gina.tenant)
    register(gina, receiver)

    assign_licenses(actor=actor_of(gina), subscription_key=central.key, user_ids=[mike.pk], at=AT)
    disable_user(actor=actor_of(gina), user_id=mike.pk, at=AT)
    send()

    told = {json.loads(body)["type"]: json.loads(body) for _headers, body in receiver.came}
    organization = str(gina.tenant.key)
    assigned, left = told["license.assigned"], told["user.left"]
    assert assigned["data"] | {"auditEntryId": 0} == {
        "organizationId": organization,
        "auditEntryId": 0,
        "purchaseId": str(central.key),
        "userId": str(mike.key),
    }
    assert left["data"] | {"auditEntryId": 0} == {
        "organizationId": organization,
        "auditEntryId": 0,
        "userId": str(mike.key),
    }
    assert datetime.fromisoformat(assigned["timestamp"]) == AT
    assert set(assigned) == {"type", "timestamp", "data"}


# --- Signed -----------------------------------------------------------------------------------------------


def test_a_message_is_signed_as_standard_webhooks_says(gina: User, receiver: Receiver) -> None:
    made = register(gina, receiver)
    happens(gina)

    has_more = send()

    ((headers, body),) = receiver.came
    (row,) = messages(gina.tenant)
    assert not has_more
    assert (row.state, row.status, row.tries) == ("delivered", 204, 1)
    assert headers["webhook-id"] == f"msg_{row.key.hex}"
    assert headers["content-type"] == "application/json"
    content = Webhook(made.secret).verify(body, headers)
    assert content["type"] == "bill.paid"
    assert content["data"]["billNumber"] == "SK-NL-2026-000007"
    for secret, altered in ((made.secret, body + b" "), ("whsec_b3RoZXI=", body)):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(altered, headers)


def test_for_a_day_after_a_rotation_both_secrets_are_good(gina: User, receiver: Receiver) -> None:
    before = register(gina, receiver).secret
    endpoint = endpoint_of(gina.tenant)
    real_at = real_now()
    after = rotate_secret(actor=actor_of(gina), key=endpoint.key, at=AT, real_at=real_at).secret
    counts = {}
    for hours in (0, 24):
        happens(gina)
        send_due(clock=lambda: AT, real_clock=lambda hours=hours: real_at + timedelta(hours=hours))
        headers, body = receiver.came[-1]
        counts[hours] = len(headers["webhook-signature"].split(" "))
        if hours == 0:
            for secret in (before, after):
                Webhook(secret).verify(body, headers)

    assert before != after
    assert counts == {0: 2, 24: 1}
    forget_deliveries(at=AT, real_at=real_at + timedelta(hours=24))
    assert endpoint_of(gina.tenant).former_secret_encrypted == ""


def test_secrets_are_kept_encrypted_and_follow_the_newest_key(
    gina: User, receiver: Receiver, settings: Any
) -> None:
    from cryptography.fernet import Fernet

    secret = register(gina, receiver).secret
    rotate_secret(actor=actor_of(gina), key=endpoint_of(gina.tenant).key, at=AT, real_at=real_now())
    old, newest = settings.FIELD_ENCRYPTION_KEYS, Fernet.generate_key().decode()
    settings.FIELD_ENCRYPTION_KEYS = [newest, *old]
    stored = endpoint_of(gina.tenant)

    rotate_keys()
    settings.FIELD_ENCRYPTION_KEYS = [newest]
    happens(gina)
    send()

    assert secret not in stored.secret_encrypted + stored.former_secret_encrypted
    headers, body = receiver.came[0]
    Webhook(secret).verify(body, headers)


# --- Tried again, given up --------------------------------------------------------------------------------


def test_a_wrong_status_is_tried_again_with_growing_gaps_under_the_same_id(
    gina: User, receiver: Receiver
) -> None:
    register(gina, receiver)
    receiver.answers = [500, 404]
    happens(gina)

    send(AT)
    send(AT + GAPS[0] - timedelta(seconds=1))
    after_one = len(receiver.came)
    send(AT + GAPS[0])
    send(AT + GAPS[0] + GAPS[1])

    (row,) = messages(gina.tenant)
    assert (after_one, len(receiver.came), len(set(receiver.ids))) == (1, 3, 1)
    assert (row.state, row.tries, row.status) == ("delivered", 3, 204)
    assert endpoint_of(gina.tenant).failing_since is None


def test_what_never_arrives_is_given_up_after_three_days_and_the_admins_are_told(
    gina: User, receiver: Receiver
) -> None:
    bill = make_user(gina.tenant, roles=("billing_admin",))
    register(gina, receiver)
    receiver.answers = [500] * (len(GAPS) + 1)
    happens(gina)
    at = AT
    for gap in (*GAPS, None):
        send(at)
        assert endpoint_of(gina.tenant).is_paused == (gap is None)
        at += gap or timedelta(0)
    happens(gina, "commerce.bill.issued")
    send(at)

    first, second = messages(gina.tenant)
    endpoint = endpoint_of(gina.tenant)
    assert timedelta(days=3) < sum(GAPS, timedelta(0)) < timedelta(days=4)
    assert (first.state, first.tries, first.status, first.answer) == ("dead", len(GAPS) + 1, 500, "said so")
    assert (second.state, second.tries) == ("queued", 0)
    assert (endpoint.paused_because, endpoint.failing_since) == ("failing", AT)
    with tenant_atomic(gina.tenant_id):
        readers = OutgoingMail.objects.filter(kind="webhook_paused").values_list("to_user_id", flat=True)
        assert list(readers) == [gina.pk]
        assert AuditEntry.objects.filter(code="directory.webhook.given_up").count() == 1
    assert bill.pk != gina.pk

    resume_endpoint(actor=actor_of(gina), key=endpoint.key, at=at)
    send(at)

    assert [row.state for row in messages(gina.tenant)] == ["delivered"] * 2
    assert endpoint_of(gina.tenant).failing_since is None


def test_an_address_that_is_gone_is_paused_at_once(gina: User, receiver: Receiver) -> None:
    register(gina, receiver)
    receiver.answers = [410]
    happens(gina)

    send()

    assert [row.state for row in messages(gina.tenant)] == ["dead"]
    assert endpoint_of(gina.tenant).paused_because == "gone"


def test_no_redirect_is_followed(gina: User, receiver: Receiver) -> None:
    register(gina, receiver)
    with listening() as elsewhere:
        receiver.answers, receiver.location = [307], elsewhere.url
        happens(gina)

        send()

        assert elsewhere.came == []
    assert [(row.state, row.status) for row in messages(gina.tenant)] == [("queued", 307)]


@pytest.mark.long
def test_a_slow_receiver_holds_up_nobody_else(gina: User, receiver: Receiver, monkeypatch: Any) -> None:
    monkeypatch.setattr(webhook_sending, "SECONDS", 5)
    fiona = make_user(make_tenant(), roles=("global_admin",))
    register(gina, receiver)
    receiver.seconds = 60
    for _ in range(5):
        happens(gina)
    with listening() as quick:
        register(fiona, quick)
        for _ in range(3):
            happens(fiona)

        send()

        assert len(quick.came) == 3
    assert [(row.state, row.status, row.tries) for row in messages(gina.tenant)] == [("queued", None, 1)] * 5
    assert endpoint_of(gina.tenant).failing_since == AT


def test_a_backlog_of_one_organization_holds_up_no_other_that_comes_later(
    gina: User, receiver: Receiver, monkeypatch: Any
) -> None:
    fiona = make_user(make_tenant(), roles=("global_admin",))
    register(fiona, receiver, "bill.paid")
    for _ in range(4):
        register(gina, receiver)
    for _ in range(8):
        happens(gina)
    ginas = threading.Semaphore(OF_TENANT)
    first, fionas_came = threading.Event(), threading.Event()

    def post(due: Due, real_at: datetime) -> Outcome:
        if due.tenant_id == fiona.tenant_id:
            fionas_came.set()
            return Outcome(Answer(204, ""), "", 1)
        assert ginas.acquire(blocking=False)
        if not first.is_set():
            first.set()
            happens(fiona)
            connections.close_all()
        else:
            assert fionas_came.wait(20)
        ginas.release()
        return Outcome(Answer(204, ""), "", 1)

    monkeypatch.setattr(webhook_sending, "_send", post)
    assert send() is False

    for user, count in ((gina, 32), (fiona, 1)):
        assert [row.state for row in messages(user.tenant)] == ["delivered"] * count


def test_who_does_not_listen_is_tried_again(gina: User) -> None:
    with listening() as one:
        register(gina, one)
    happens(gina)

    send()

    (row,) = messages(gina.tenant)
    assert (row.state, row.status, row.next_try_at) == ("queued", None, AT + GAPS[0])
    assert row.error


def test_several_workers_send_each_message_once(gina: User, receiver: Receiver) -> None:
    register(gina, receiver)
    for _ in range(40):
        happens(gina)

    all_at_once(lambda _n: send(), count=4)

    assert len(receiver.ids) == len(set(receiver.ids)) == 40


def test_a_claim_that_nobody_gave_back_is_taken_over(gina: User, receiver: Receiver) -> None:
    register(gina, receiver)
    happens(gina)
    with use_login("worker"):
        WebhookDelivery.objects.update(tries=1, next_try_at=AT + CLAIM)

    send(AT + CLAIM - timedelta(seconds=1))
    before = len(receiver.came)
    send(AT + CLAIM)

    assert (before, len(receiver.came)) == (0, 1)


# --- Sent again -------------------------------------------------------------------------------------------


def test_one_message_is_sent_again_under_its_id(gina: User, receiver: Receiver) -> None:
    register(gina, receiver)
    happens(gina)
    happens(gina)
    send()
    first, _second = messages(gina.tenant)
    key = endpoint_of(gina.tenant).key

    send_again(actor=actor_of(gina), key=key, delivery=first.key, at=AT)
    send()

    assert receiver.ids.count(f"msg_{first.key.hex}") == 2
    assert len(receiver.came) == 3
    with pytest.raises(NotVisible):
        send_again(actor=actor_of(gina), key=key, delivery=uuid.uuid4(), at=AT)


def test_all_since_an_instant_are_sent_again(gina: User, receiver: Receiver) -> None:
    register(gina, receiver)
    for hours in range(3):
        happens(gina, at=AT + timedelta(hours=hours))
    later = AT + timedelta(hours=2)
    send(later)

    count = send_all_again(
        actor=actor_of(gina), key=endpoint_of(gina.tenant).key, since=AT + timedelta(hours=1), at=later
    )
    send(later)

    assert (count, len(receiver.came), len(set(receiver.ids))) == (2, 5, 3)


def test_a_test_is_tried_once_also_where_it_is_paused(gina: User, receiver: Receiver) -> None:
    made = register(gina, receiver)
    key = endpoint_of(gina.tenant).key
    pause_endpoint(actor=actor_of(gina), key=key, at=AT)
    receiver.answers = [500]
    happens(gina)

    for _ in range(2):
        send_test(actor=actor_of(gina), key=key, at=AT)
    send()
    send(AT + timedelta(days=1))

    assert sorted((row.type, row.state) for row in messages(gina.tenant)) == [
        ("bill.paid", "queued"),
        ("webhook.test", "dead"),
        ("webhook.test", "delivered"),
    ]
    headers, body = receiver.came[0]
    assert Webhook(made.secret).verify(body, headers)["data"] == {"organizationId": str(gina.tenant.key)}
    assert endpoint_of(gina.tenant).failing_since is None


def test_messages_are_forgotten_after_thirty_days_and_with_their_endpoint(
    gina: User, receiver: Receiver
) -> None:
    register(gina, receiver)
    happens(gina)
    happens(gina, at=AT + timedelta(seconds=1))

    forget_deliveries(at=AT + KEPT + timedelta(seconds=1), real_at=real_now())
    left = len(messages(gina.tenant))
    delete_endpoint(actor=actor_of(gina), key=endpoint_of(gina.tenant).key, at=AT)
    send()

    assert (left, messages(gina.tenant), receiver.came) == (1, [], [])


# --- Where, and who ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.contoso.example/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest/",
        "https://10.1.2.3:8443/",
        "https://me:secret@hooks.contoso.example/",
        "https://hooks.contoso.example:22/",
        "https://hooks.contoso.example/#part",
        "ftp://hooks.contoso.example/",
        "file:///etc/passwd",
        "https://",
        "https://hooks.contoso.example/\u00e9",
        "https://hooks.contoso.example:x/",
        "",
    ],
)
def test_an_address_inside_or_of_another_kind_is_refused(gina: User, settings: Any, url: str) -> None:
    settings.IS_HTTPS, settings.PRIVATE_PEERS = True, False

    with pytest.raises(Malformed) as refused:
        register_endpoint(actor=actor_of(gina), name="Ledger", url=url, types=["bill.paid"], at=AT)

    assert refused.value.field == "url"


def test_a_name_that_leads_inside_by_then_is_sent_nothing(
    gina: User, receiver: Receiver, settings: Any
) -> None:
    with_name = Receiver(receiver.url.replace("127.0.0.1", "localhost"))
    register(gina, with_name)
    happens(gina)
    settings.PRIVATE_PEERS = False

    send()

    (row,) = messages(gina.tenant)
    assert receiver.came == []
    assert "not a public address" in row.error


def test_billing_admins_register_what_tells_of_purchases_bills_and_policies(
    gina: User, receiver: Receiver
) -> None:
    bill = actor_of(make_user(gina.tenant, roles=("billing_admin",)))
    reader = actor_of(make_user(gina.tenant, roles=("global_reader",)))
    named: Any = {"name": "Ledger", "url": receiver.url, "at": AT}

    own = register_endpoint(actor=bill, types=["bill.paid"], **named)
    with pytest.raises(NotAllowed):
        register_endpoint(actor=bill, types=["bill.paid", "user.left"], **named)
    with pytest.raises(NotAllowed):
        register_endpoint(actor=reader, types=["bill.paid"], **named)
    with pytest.raises(NotVisible):
        register_endpoint(actor=actor_of(make_user(gina.tenant)), types=["bill.paid"], **named)
    change_endpoint(
        actor=actor_of(gina), key=own.endpoint.key, name="All", url=receiver.url, types=["user.left"], at=AT
    )
    with pytest.raises(NotAllowed):
        pause_endpoint(actor=bill, key=own.endpoint.key, at=AT)


def test_there_are_twenty_at_most(gina: User, receiver: Receiver) -> None:
    for _ in range(MOST):
        register(gina, receiver)

    with pytest.raises(TooManyEndpoints):
        register(gina, receiver)


def test_another_organizations_endpoint_is_not_there(gina: User, receiver: Receiver) -> None:
    register(gina, receiver)
    key = endpoint_of(gina.tenant).key
    fiona = make_user(make_tenant(), roles=("global_admin",))
    client, missing = client_of(fiona), uuid.uuid4()

    for act in (pause_endpoint, resume_endpoint, delete_endpoint, send_test):
        with pytest.raises(NotVisible):
            act(actor=actor_of(fiona), key=key, at=AT)
    with pytest.raises(NotVisible):
        rotate_secret(actor=actor_of(fiona), key=key, at=AT, real_at=real_now())
    assert client.get(f"{PAGE}{key}/").content == client.get(f"{PAGE}{missing}/").content
    assert client.post(f"{PAGE}{key}/", {"action": "delete"}).status_code == 404


# --- The pages --------------------------------------------------------------------------------------------


def test_a_webhook_is_registered_by_its_page_and_the_secret_is_shown_once(
    gina: User, receiver: Receiver
) -> None:
    client = client_of(gina)

    shown = client.post(PAGE, {"name": "Ledger", "url": receiver.url, "type": ["bill.paid", "user.left"]})
    key = endpoint_of(gina.tenant).key
    later = text_of(client.get(f"{PAGE}{key}/"))
    listed = text_of(client.get(PAGE))

    secret = shown.context["secret"]
    assert secret.startswith("whsec_")
    assert secret in shown.content.decode()
    assert secret not in later
    assert "Ledger" in listed
    assert "2 types of events" in listed
    with tenant_atomic(gina.tenant_id):
        (entry,) = AuditEntry.objects.filter(code="directory.webhook.registered")
    assert secret not in json.dumps(entry.after)


def test_reloading_what_showed_a_secret_makes_nothing_more(gina: User, receiver: Receiver) -> None:
    client = client_of(gina)

    def once(page: str) -> str:
        return re.findall(r'name="once" value="([^"]+)"', client.get(page).text)[0]

    form = {"name": "Ledger", "url": receiver.url, "type": ["bill.paid"], "once": once(PAGE)}
    registered, reloaded = client.post(PAGE, form), client.post(PAGE, form)
    address = f"{PAGE}{endpoint_of(gina.tenant).key}/"
    rotation = {"action": "rotate", "once": once(address)}
    rotated, again = client.post(address, rotation), client.post(address, rotation)

    assert [each.status_code for each in (registered, reloaded, rotated, again)] == [200, 409, 200, 409]
    assert "whsec_" in rotated.text
    assert "whsec_" not in reloaded.text + again.text
    assert "its secret was shown then" in text_of(again)


def test_a_mistake_keeps_what_was_typed(gina: User) -> None:
    response = client_of(gina).post(PAGE, {"name": "Ledger", "url": "ftp://x", "type": ["bill.paid"]})

    assert response.status_code == 422
    text = text_of(response)
    assert 'value="ftp://x"' in text
    assert "Nothing was registered." in text


def test_the_page_tests_pauses_rotates_changes_and_deletes(gina: User, receiver: Receiver) -> None:
    client = client_of(gina)
    register(gina, receiver)
    address = f"{PAGE}{endpoint_of(gina.tenant).key}/"

    def act(action: str, **values: Any) -> str:
        return text_of(client.post(address, {"action": action, **values}, follow=True))

    assert "A test message is on its way." in act("test")
    with use_login("worker"):
        due = WebhookDelivery.objects.get().next_try_at
    send(due)
    assert "204" in text_of(client.get(address))
    assert "Paused. What happens meanwhile waits." in act("pause")
    assert "Active again." in act("resume")
    assert "whsec_" in act("rotate")
    assert "Changed." in act("change", name="Other", url=receiver.url, type=["bill.paid"])
    assert endpoint_of(gina.tenant).types == ["bill.paid"]
    (row,) = messages(gina.tenant)
    assert "under the same id" in act("repeat", message=row.key)
    happens(gina)
    assert "1 message is on its way again." in act("repeat-since", since="2020-01-01")
    assert "Enter a day such as 2026-11-30." in act("repeat-since", since="soon")
    assert "Nothing is sent there any more." in act("delete")
    assert client.get(address).status_code == 404


def test_readers_see_what_became_of_messages_and_change_nothing(gina: User, receiver: Receiver) -> None:
    register(gina, receiver)
    happens(gina)
    send()
    reader = client_of(make_user(gina.tenant, roles=("global_reader",)))
    address = f"{PAGE}{endpoint_of(gina.tenant).key}/"

    page = text_of(reader.get(address))

    assert "bill.paid" in page
    assert "<form" not in page.partition('<main id="content-start"')[2].partition("</main>")[0]
    assert reader.post(address, {"action": "delete"}).status_code == 403
    assert reader.post(PAGE, {"name": "x"}).status_code == 403
