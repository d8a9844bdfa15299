"""Domains that an organization proves to own by a TXT record (product §3.2; reliability §6, §7)."""

import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Conflict, DomainError, NotVisible, constraint_of
from config.kit.sweeps import alone
from config.kit.tenancy import atomic, tenant_atomic, use_login
from directory.domains import fold_domain
from directory.gateways.names import NamesAway, texts_of
from directory.models import Domain, Tenant
from directory.operations.audit import record
from directory.operations.people import require_may_manage
from directory.operations.sign_in_notices import tell_sign_in_changed
from directory.permissions import Capability

MOST = 50
# How long a record may be gone before its domain no longer leads here.
GRACE = timedelta(days=7)
EVERY = timedelta(days=1)
MOST_AT_ONCE = 500


class DomainTaken(Conflict):
    """Another organization has proved that the domain is its own."""

    code = "domain_taken"
    message = _("Another organization has this domain here. If it is yours, ask the vendor's support.")


class DomainAdded(Conflict):
    """The organization has the domain already."""

    code = "domain_added"
    message = _("You have added this domain already.")


class TooManyDomains(Conflict):
    code = "too_many_domains"
    message = _("An organization has up to 50 domains here. Remove one first.")


class RecordMissing(Conflict):
    """The domain's TXT record is not there, or says something else."""

    code = "record_missing"
    message = _("The record was not found. It can take an hour until a new record is seen everywhere.")


class NamesUnavailable(DomainError):
    """Nobody answers for the domain; nothing is known about the record."""

    code = "names_unavailable"
    status = 503
    message = _("The domain's name servers do not answer. Nothing was changed. Try again in a few minutes.")


class NeedsNoRecord(Conflict):
    """The installation's staff said that the domain is the organization's."""

    code = "needs_no_record"
    message = _("The vendor's staff confirmed this domain. It needs no record.")


class LastDomain(Conflict):
    code = "last_domain"
    message = _("Without this domain nobody could sign in. Verify another one first.")


@dataclass(frozen=True, slots=True)
class Proof:
    """The TXT record that proves a domain."""

    name: str
    value: str


def proof_of(domain: Domain) -> Proof:
    return Proof(f"_seatkeeper.{domain.name}", f"seatkeeper-verification={domain.token}")


def add_domain(*, actor: Actor, name: str, at: datetime, is_verified: bool = False) -> Domain:
    """Add an e-mail domain to the acting tenant; it decides nothing before it is verified.

    Only the installation may say that it is. Whether somebody else has it is not said before it is proved.

    :raises NotAllowed: the actor may not manage the organization's settings.
    :raises Malformed: not a domain name.
    :raises DomainAdded, TooManyDomains. :raises DomainTaken: verified elsewhere, and said to be verified here.
    """
    with tenant_atomic(actor):
        _require(actor)
        folded = fold_domain(name)
        _lock_tenant(actor)
        if Domain.objects.filter(tenant_id=actor.tenant_id).count() >= MOST:
            raise TooManyDomains
        verified_at = at if is_verified and actor.is_system else None
        try:
            with atomic():
                domain: Domain = Domain.objects.create(
                    tenant_id=actor.tenant_id,
                    name=folded,
                    verified_at=verified_at,
                    token="" if verified_at else secrets.token_hex(16),
                )
        except IntegrityError as error:
            raise _translated(error, folded) from error
        _record(actor, "added", domain, at, after={"name": folded, "is_verified": verified_at is not None})
    return domain


def verify_domain(*, actor: Actor, domain_id: int, at: datetime) -> Domain:
    """Look for the domain's record, and let the domain lead here if it is there. Not inside a transaction.

    Twice is once; of a verified one it is looked at again.

    :raises NotVisible: the acting tenant has no such domain. :raises NeedsNoRecord: staff confirmed it.
    :raises NotAllowed: the actor may not manage the organization's settings.
    :raises NamesUnavailable: nobody answers. :raises RecordMissing: it is not there.
    :raises DomainTaken: another organization proved it first.
    """
    with tenant_atomic(actor):
        _require(actor)
        proof = proof_of(_found(actor, domain_id))
    try:
        is_there = proof.value in texts_of(proof.name)
    except NamesAway as error:
        raise NamesUnavailable from error
    with tenant_atomic(actor):
        _require(actor)
        _lock_tenant(actor)
        domain = _found(actor, domain_id)
        if not is_there:
            _note_missing(actor, domain, at)
        else:
            _note_there(actor, domain, at)
    if not is_there:
        raise RecordMissing
    return domain


def remove_domain(*, actor: Actor, domain_id: int, at: datetime) -> None:
    """Let a domain lead here no more. Its people's accounts stay.

    :raises NotVisible: the acting tenant has no such domain.
    :raises NotAllowed: the actor may not manage the organization's settings.
    :raises LastDomain: nobody could sign in any more.
    """
    with tenant_atomic(actor):
        _require(actor)
        _lock_tenant(actor)
        domain: Domain | None = Domain.objects.filter(tenant_id=actor.tenant_id, pk=domain_id).first()
        if domain is None:
            raise NotVisible
        if is_last(domain):
            raise LastDomain
        Domain.objects.filter(pk=domain.pk).delete()
        _record(actor, "removed", domain, at, before={"name": domain.name})
        if domain.verified_at:
            tell_sign_in_changed(actor=actor, what="domain_removed", subject=domain.name, at=at)


def _note_there(actor: Actor, domain: Domain, at: datetime) -> None:
    is_news = domain.verified_at is None
    domain.verified_at = domain.verified_at or at
    domain.checked_at, domain.missing_since = at, None
    try:
        with atomic():
            domain.save(update_fields=["verified_at", "checked_at", "missing_since"])
    except IntegrityError as error:
        raise _translated(error, domain.name) from error
    if is_news:
        _record(actor, "verified", domain, at, after={"name": domain.name})
        tell_sign_in_changed(actor=actor, what="domain_verified", subject=domain.name, at=at)


def _note_missing(actor: Actor, domain: Domain, at: datetime) -> None:
    """A verified domain whose record is gone is told of, and after a week leads here no more, unless it is the last."""
    domain.checked_at = at
    if domain.verified_at is None:
        domain.save(update_fields=["checked_at"])
        return
    is_news = domain.missing_since is None
    domain.missing_since = domain.missing_since or at
    is_over = at - domain.missing_since >= GRACE and not is_last(domain)
    if is_over:
        domain.verified_at, domain.missing_since = None, None
    domain.save(update_fields=["checked_at", "missing_since", "verified_at"])
    if is_over:
        _record(actor, "lapsed", domain, at, before={"is_verified": True}, after={"is_verified": False})
        tell_sign_in_changed(actor=actor, what="domain_lapsed", subject=domain.name, at=at)
    elif is_news:
        _record(actor, "record_missing", domain, at)
        tell_sign_in_changed(actor=actor, what="domain_missing", subject=domain.name, at=at)


def is_last(domain: Domain) -> bool:
    """Whether it is the only one that leads to its organization: nobody could sign in without it."""
    others = Domain.objects.filter(tenant_id=domain.tenant_id, verified_at__isnull=False)
    return domain.verified_at is not None and not others.exclude(pk=domain.pk).exists()


def _lock_tenant(actor: Actor) -> None:
    """Changes of an organization's domains come one after the other: of two that end at once one is the last."""
    Tenant.objects.select_for_update(no_key=True).get(pk=actor.tenant_id)


def _found(actor: Actor, domain_id: int) -> Domain:
    domain: Domain | None = Domain.objects.filter(tenant_id=actor.tenant_id, pk=domain_id).first()
    if domain is None:
        raise NotVisible
    if not domain.token:
        raise NeedsNoRecord
    return domain


def _require(actor: Actor) -> None:
    require_may_manage(actor, Capability.MANAGE_SETTINGS, sees=Capability.SEE_SETTINGS)


def _record(actor: Actor, what: str, domain: Domain, at: datetime, **facts: object) -> None:
    record(
        actor,
        f"directory.domain.{what}",
        at=at,
        target_type="domain",
        target_id=domain.pk,
        target_label=domain.name,
        **facts,
    )


def _translated(error: IntegrityError, name: str) -> DomainError:
    names = {"directory_domain_verified_once": DomainTaken, "directory_domain_once": DomainAdded}
    kind = names.get(constraint_of(error))
    if kind is None:
        raise error
    return kind(domain=name)


def recheck_domains(*, at: datetime, seconds: float = 120) -> int:
    """Look again at the records of verified domains that nobody looked at for a day; how many were looked at.

    By the worker, which finds them; each is then judged under its own tenant. In no order, for at most `seconds`, so
    that name servers which do not answer hold nobody up.
    """
    with use_login("worker"):
        due = Domain.objects.filter(verified_at__isnull=False).exclude(token="")
        due = due.filter(Q(checked_at=None) | Q(checked_at__lte=at - EVERY))
        found = list(due.order_by("?").values_list("tenant_id", "pk")[:MOST_AT_ONCE])
    until, done = time.monotonic() + seconds, 0
    for tenant_id, domain_id in found:
        if time.monotonic() > until:
            break
        with alone("Domain %s", domain_id), suppress(RecordMissing, NamesUnavailable, NotVisible):
            verify_domain(actor=Actor.system(tenant_id), domain_id=domain_id, at=at)
        done += 1
    return done
