"""Endpoints of outgoing webhooks: register, change, rotate, pause, send again (product §16; docs/adr/0041).

The rights are those over service tokens: global admins over all of them, billing admins over those that are told of
purchases, bills and policies alone.
"""

import secrets
import uuid
from base64 import b64encode
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.doorbell import ring_after_commit
from config.kit.errors import DomainError, Malformed, NotAllowed, NotVisible
from config.kit.fetch import FetchFailed, check_address
from config.kit.secrets import encrypt
from config.kit.tenancy import login_alias, tenant_atomic
from directory.events import BILLING_TYPES, TEST, TYPES
from directory.models import Tenant, WebhookDelivery, WebhookEndpoint
from directory.operations.audit import record
from directory.permissions import Capability

MOST = 20
NAME_LENGTH, URL_LENGTH = 100, 500
# How long the secret of before signs beside the new one.
OVERLAP = timedelta(hours=24)
# How long messages are kept, and can be sent again.
KEPT = timedelta(days=30)
SENDING = "directory.send_webhooks"

State = WebhookEndpoint.State
Because = WebhookEndpoint.Because


class TooManyEndpoints(DomainError):
    code = "too_many_endpoints"
    message = _("There are 20 webhooks already. Delete one that is no longer used.")


@dataclass(frozen=True, slots=True)
class Registered:
    """An endpoint with its new secret, which is here and nowhere else: shown once, kept encrypted, never logged."""

    endpoint: WebhookEndpoint
    secret: str

    def __repr__(self) -> str:
        return f"Registered({self.endpoint.key})"


def types_allowed(actor: Actor) -> frozenset[str]:
    """The types of events that the actor may have told; empty when none."""
    if actor.may(Capability.SERVICE_TOKENS_ALL):
        return frozenset(TYPES)
    return BILLING_TYPES if actor.may(Capability.SERVICE_TOKENS_BILLING) else frozenset()


def may_change(actor: Actor, endpoint: WebhookEndpoint) -> bool:
    return bool(types_allowed(actor)) and set(endpoint.types) <= types_allowed(actor)


def register_endpoint(
    *, actor: Actor, name: str, url: str, types: Collection[str], at: datetime
) -> Registered:
    """An address that is told of what happens from now on.

    :raises NotVisible: the actor does not see webhooks. :raises NotAllowed: may register none, or none of these types.
    :raises Malformed: no name, no such type, or an address to which nothing is sent.
    :raises TooManyEndpoints: there are 20.
    """
    name, url, chosen = _checked(actor, name, url, types)
    secret = _new_secret()
    with tenant_atomic(actor):
        # The organization's row is the queue in which new ones are counted.
        Tenant.objects.select_for_update(no_key=True).get(pk=actor.tenant_id)
        if WebhookEndpoint.objects.visible_to(actor).count() >= MOST:
            raise TooManyEndpoints
        endpoint = WebhookEndpoint.objects.create(
            tenant_id=actor.tenant_id,
            name=name,
            url=url,
            types=chosen,
            secret_encrypted=encrypt(secret),
            created_at=at,
            created_by_id=actor.user_id,
            created_by=actor.label,
        )
        _record(actor, "registered", endpoint, at, after={"url": url, "types": chosen})
    return Registered(endpoint, secret)


def change_endpoint(
    *, actor: Actor, key: uuid.UUID, name: str, url: str, types: Collection[str], at: datetime
) -> None:
    """Another name or address, or other types; messages that wait go to the new address.

    :raises NotVisible, NotAllowed, Malformed: as `register_endpoint`.
    """
    name, url, chosen = _checked(actor, name, url, types)
    with tenant_atomic(actor):
        endpoint = _locked(actor, key)
        before: dict[str, Any] = {"name": endpoint.name, "url": endpoint.url, "types": endpoint.types}
        after: dict[str, Any] = {"name": name, "url": url, "types": chosen}
        if before == after:
            return
        endpoint.name, endpoint.url, endpoint.types = name, url, chosen
        endpoint.save(update_fields=["name", "url", "types"])
        _record(actor, "changed", endpoint, at, before=before, after=after)


def rotate_secret(*, actor: Actor, key: uuid.UUID, at: datetime, real_at: datetime) -> Registered:
    """A new secret; for 24 hours messages are signed with both. Again within them: with the latest two.

    :raises NotVisible, NotAllowed: as `register_endpoint`.
    """
    secret = _new_secret()
    with tenant_atomic(actor):
        endpoint = _locked(actor, key)
        endpoint.former_secret_encrypted = endpoint.secret_encrypted
        endpoint.former_until = real_at + OVERLAP
        endpoint.secret_encrypted = encrypt(secret)
        endpoint.save(update_fields=["secret_encrypted", "former_secret_encrypted", "former_until"])
        _record(actor, "secret_rotated", endpoint, at)
    return Registered(endpoint, secret)


def pause_endpoint(*, actor: Actor, key: uuid.UUID, at: datetime) -> None:
    """Nothing is sent; what happens meanwhile waits, for 30 days. Twice is once.

    :raises NotVisible, NotAllowed: as `register_endpoint`.
    """
    with tenant_atomic(actor):
        endpoint = _locked(actor, key)
        if endpoint.is_paused:
            return
        set_paused(endpoint, Because.ASKED, at)
        _record(actor, "paused", endpoint, at)


def resume_endpoint(*, actor: Actor, key: uuid.UUID, at: datetime) -> None:
    """Send again, what waited first, and what was given up, from its first try. Twice is once.

    :raises NotVisible, NotAllowed: as `register_endpoint`.
    """
    with tenant_atomic(actor):
        endpoint = _locked(actor, key)
        if not endpoint.is_paused:
            return
        endpoint.state, endpoint.paused_because = State.ACTIVE, ""
        endpoint.paused_at = endpoint.failing_since = None
        endpoint.save(update_fields=["state", "paused_because", "paused_at", "failing_since"])
        waiting = endpoint.deliveries.exclude(state=WebhookDelivery.State.DELIVERED).exclude(type=TEST)
        _queue(waiting, at)
        _record(actor, "resumed", endpoint, at)


def delete_endpoint(*, actor: Actor, key: uuid.UUID, at: datetime) -> None:
    """Forget an endpoint and its messages; the trail keeps that it was there.

    :raises NotVisible, NotAllowed: as `register_endpoint`.
    """
    with tenant_atomic(actor):
        endpoint = _locked(actor, key)
        _record(actor, "deleted", endpoint, at, before={"url": endpoint.url, "types": endpoint.types})
        endpoint.delete()


def send_test(*, actor: Actor, key: uuid.UUID, at: datetime) -> None:
    """Queue a message of type `webhook.test`, tried once, also to an endpoint that is paused.

    :raises NotVisible, NotAllowed: as `register_endpoint`.
    """
    with tenant_atomic(actor):
        endpoint = _locked(actor, key)
        WebhookDelivery.objects.create(
            tenant_id=actor.tenant_id, endpoint=endpoint, type=TEST, at=at, next_try_at=at
        )
        _ring()


def send_again(*, actor: Actor, key: uuid.UUID, delivery: uuid.UUID, at: datetime) -> None:
    """Send one message again, under its id, from its first try.

    :raises NotVisible: no such message. :raises NotVisible, NotAllowed: as `register_endpoint`.
    """
    with tenant_atomic(actor):
        endpoint = _locked(actor, key)
        if not _queue(endpoint.deliveries.filter(key=delivery), at):
            raise NotVisible
        _record(actor, "replayed", endpoint, at, after={"message": str(delivery)})


def send_all_again(*, actor: Actor, key: uuid.UUID, since: datetime, at: datetime) -> int:
    """Send again whatever happened since an instant, the tests apart; how many messages.

    :raises NotVisible, NotAllowed: as `register_endpoint`.
    """
    with tenant_atomic(actor):
        endpoint = _locked(actor, key)
        count = _queue(endpoint.deliveries.filter(at__gte=since).exclude(type=TEST), at)
        if count:
            _record(actor, "replayed", endpoint, at, after={"since": since.isoformat(), "messages": count})
    return count


def set_paused(endpoint: WebhookEndpoint, because: str, at: datetime) -> None:
    """Inside a transaction that has locked it."""
    endpoint.state, endpoint.paused_because, endpoint.paused_at = State.PAUSED, because, at
    endpoint.save(update_fields=["state", "paused_because", "paused_at"])


def _queue(rows: QuerySet[WebhookDelivery], at: datetime) -> int:
    count = rows.update(state=WebhookDelivery.State.QUEUED, tries=0, next_try_at=at)
    if count:
        _ring()
    return count


def _ring() -> None:
    ring_after_commit(SENDING, using=login_alias())


def _new_secret() -> str:
    """As Standard Webhooks writes them: 256 random bits."""
    return f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"


def _locked(actor: Actor, key: uuid.UUID) -> WebhookEndpoint:
    """The endpoint, locked, of whoever may change it."""
    endpoint: WebhookEndpoint | None = (
        WebhookEndpoint.objects.visible_to(actor).select_for_update(no_key=True).filter(key=key).first()
    )
    if endpoint is None:
        raise NotVisible
    if not may_change(actor, endpoint):
        raise NotAllowed
    return endpoint


def _checked(actor: Actor, name: str, url: str, types: Collection[str]) -> tuple[str, str, list[str]]:
    """Name, address and types, in the catalogue's order."""
    if not actor.may(Capability.SEE_SERVICE_TOKENS):
        raise NotVisible
    allowed = types_allowed(actor)
    if not allowed:
        raise NotAllowed
    name, url = name.strip(), url.strip()
    if not name or len(name) > NAME_LENGTH or "\0" in name:
        raise Malformed(_("Give it a name of up to 100 characters."), field="name")
    if len(url) > URL_LENGTH or not url.isascii() or not url.isprintable() or "#" in url:
        raise Malformed(_("This is not an address to send to."), field="url")
    try:
        check_address(url)
    except FetchFailed as error:
        raise Malformed(
            _("Nothing is sent to this address: it must be a public one that begins with https://."),
            field="url",
        ) from error
    if not types or not set(types) <= set(TYPES):
        raise Malformed(_("Choose at least one type of event."), field="type")
    if not set(types) <= allowed:
        raise NotAllowed
    return name, url, [name for name in TYPES if name in types]


def _record(
    actor: Actor,
    what: str,
    endpoint: WebhookEndpoint,
    at: datetime,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    record(
        actor,
        f"directory.webhook.{what}",
        at=at,
        target_type="webhook",
        target_id=endpoint.key,
        target_label=endpoint.name,
        before=before,
        after=after,
    )
