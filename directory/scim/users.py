"""Accounts as SCIM users: row to resource, resource to profile, and what can be filtered."""

import uuid
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.db.models import Case, CharField, F, Q, Value, When
from django.db.models.functions import Cast, Coalesce
from django.db.models.lookups import Exact
from scim2_models import InvalidValueException, Meta, NotFoundException, SearchRequest

from config.kit.actors import Actor
from config.kit.clock import real_now
from config.kit.tenancy import ScopedQuerySet, tenant_atomic
from directory.models import User
from directory.models.people import fold_user_name
from directory.operations.leaving import delete_user
from directory.operations.provisioning import create_account, keep_account, profile_of
from directory.profiles import Profile
from directory.scim import schemas
from directory.scim.filters import Attribute, condition, constant, instant, key, text, truth

_LONGEST: Final = {"userName": 254, "externalId": 255, "displayName": 200}
_PART: Final = 200


class Users:
    """The accounts of one organization, as its directory sees them: everybody who is not deleted."""

    def __init__(self, actor: Actor, at: datetime) -> None:
        self.actor, self.at = actor, at
        # What was read, by id: a change is made from that, or not at all.
        self.seen: dict[str, Profile] = {}

    def get(self, resource_id: str, _parameters: object = None) -> Any:
        """One query."""
        with tenant_atomic(self.actor):
            user = self._live().filter(key=parsed_id(resource_id)).first()
        if user is None:
            raise NotFoundException
        self.seen[resource_id] = profile_of(user)
        return resource_of(user)

    def search(self, request: SearchRequest[Any], start: int, count: int) -> tuple[int, list[Any]]:
        """How many match, and those from `start` on, in order of their age. Two queries, one where none are wanted."""
        rows = self._live()
        if request.filter is not None:
            rows = rows.filter(
                condition(str(request.filter), schemas.AnyUser, _ATTRIBUTES, single=frozenset({"emails"}))
            )
        total = rows.count()
        if count == 0 or start >= total:
            return total, []
        return total, [resource_of(user) for user in rows.order_by("id")[start : start + count]]

    def create(self, resource: Any) -> Any:
        return resource_of(create_account(actor=self.actor, profile=_profile(resource, None), at=self.at))

    def update(self, resource: Any) -> Any:
        seen = self.seen[resource.id]
        user = keep_account(
            actor=self.actor,
            user_key=parsed_id(resource.id),
            profile=_profile(resource, seen),
            seen=seen,
            at=self.at,
        )
        return resource_of(user)

    def delete(self, resource_id: str) -> None:
        with tenant_atomic(self.actor):
            user = self._live().filter(key=parsed_id(resource_id)).values_list("pk", flat=True).first()
        if user is None:
            raise NotFoundException
        delete_user(actor=self.actor, user_id=user, at=self.at, real_at=real_now())

    def _live(self) -> ScopedQuerySet:
        rows: ScopedQuerySet = User.objects.visible_to(self.actor).exclude(status=User.Status.DELETED)
        return rows


def resource_of(user: User) -> Any:
    """The resource of an account, without its address."""
    profile = profile_of(user)
    return schemas.AnyUser(  # type: ignore[call-arg]
        id=str(user.key),
        external_id=profile.external_id or None,
        user_name=profile.user_name,
        display_name=profile.name,
        name=(
            schemas.Name(given_name=profile.given_name or None, family_name=profile.family_name or None)
            if profile.given_name or profile.family_name
            else None
        ),
        active=profile.is_active,
        emails=[schemas.Email(value=profile.email, type="work")] if profile.email else None,
        preferred_language=profile.language or None,
        Origin=(
            schemas.Origin(source=schemas.ON_PREMISES) if profile.source == User.Source.ON_PREMISES else None
        ),
        meta=Meta(
            resource_type="User",
            created=user.created_at,
            last_modified=user.changed_at or user.created_at,
            version=f'W/"{profile.version}"',
        ),
    )


def parsed_id(resource_id: str) -> uuid.UUID:
    """:raises NotFoundException: nothing has such an id."""
    try:
        return uuid.UUID(resource_id)
    except ValueError:
        raise NotFoundException from None


def _profile(resource: Any, seen: Profile | None) -> Profile:
    """What the resource says, checked.

    A displayName that was made of the parts of the name follows them.

    :raises InvalidValueException: a value cannot be kept.
    """
    user_name = checked(resource.user_name, "userName", _LONGEST["userName"])
    if not user_name or len(fold_user_name(user_name)) > _LONGEST["userName"]:
        raise InvalidValueException(detail="A userName has 1 to 254 signs.")
    parts = resource.name or schemas.Name()
    given = checked(parts.given_name, "name.givenName", _PART)
    family = checked(parts.family_name, "name.familyName", _PART)
    name = checked(resource.display_name, "displayName", _LONGEST["displayName"])
    made = f"{seen.given_name} {seen.family_name}".strip() if seen else ""
    if not name or (seen and name == seen.name == made):
        name = f"{given} {family}".strip()[:_PART] or user_name[:_PART]
    language = _language(resource.preferred_language)
    if seen and resource.preferred_language and not language:
        # One without a translation changes nothing.
        language = seen.language
    return Profile(
        user_name=user_name,
        external_id=checked(resource.external_id, "externalId", _LONGEST["externalId"]),
        name=name,
        given_name=given,
        family_name=family,
        email=_address(resource),
        language=language,
        source=_source(resource.Origin),
        is_active=bool(resource.active),
    )


def _address(resource: Any) -> str:
    """The one address that is kept: the first for work, else the first; without one, the userName if it is one."""
    emails = [email for email in resource.emails or [] if email.value]
    chosen = next((each for each in emails if (each.type or "work").lower() == "work"), None)
    if chosen is None and emails:
        chosen = emails[0]
    if chosen is None:
        name = resource.user_name.strip()
        return name.lower() if _is_address(name) else ""
    address = checked(chosen.value, "emails.value", 254)
    if not _is_address(address):
        raise InvalidValueException(detail="emails.value is no address.")
    return address.lower()


def _is_address(value: str) -> bool:
    local, _at, domain = value.partition("@")
    return (
        bool(local and domain)
        and "@" not in domain
        and len(value) <= 254
        and not any(map(str.isspace, value))
    )


def _language(tag: str | None) -> str:
    """The translation that a language tag is for; empty where there is none."""
    base = (tag or "").replace("_", "-").split("-")[0].lower()
    return base if base in dict(settings.LANGUAGES) else ""


def _source(origin: Any) -> str:
    value = (origin.source if origin else None) or User.Source.CLOUD.value
    if value not in User.Source.values:
        raise InvalidValueException(detail="source is on_premises, or absent.")
    return str(value)


def checked(value: str | None, name: str, longest: int) -> str:
    """One line of text as it can be kept.

    :raises InvalidValueException: it is too long, or holds signs that are no text.
    """
    kept = (value or "").strip()
    if len(kept) > longest:
        raise InvalidValueException(detail=f"{name} has at most {longest} signs.")
    if not kept.isprintable():
        raise InvalidValueException(detail=f"{name} holds signs that are no text.")
    return kept


def _user_name() -> Attribute:
    """By the folded name, which has an index; who was never named by the directory goes by mail, or else by key."""
    stand_in = Case(
        When(email="", then=Cast("key", CharField())), default=F("email"), output_field=CharField()
    )
    shown = Case(
        When(user_name_folded="", then=stand_in), default=F("user_name_folded"), output_field=CharField()
    )
    others = text(shown)

    def compare(op: str, value: Any) -> Q:
        if op != "eq" or value is None:
            return others.compare(op, value)
        folded = fold_user_name(str(value))
        found = Q(user_name_folded=folded) & ~Q(user_name_folded="")
        found |= Q(user_name_folded="", email=folded) & ~Q(email="")
        try:
            return found | Q(user_name_folded="", email="", key=uuid.UUID(folded))
        except ValueError:
            return found

    return Attribute(compare, Q())


def _email() -> Attribute:
    """Addresses are kept in small letters, so equality needs no folding and has an index."""
    folded = text("email", exact=True)
    return Attribute(
        lambda op, value: folded.compare(op, value if value is None else str(value).lower()), folded.present
    )


_HAS_EMAIL: Final = ~Q(Exact(F("email"), Value("")))
_ON_PREMISES: Final = Q(source=User.Source.ON_PREMISES)
_ATTRIBUTES: Final[dict[tuple[str, str | None], Attribute]] = {
    ("id", None): key("key"),
    ("external_id", None): text("external_id", exact=True),
    ("user_name", None): _user_name(),
    ("display_name", None): text("name"),
    ("name", "given_name"): text("given_name"),
    ("name", "family_name"): text("family_name"),
    ("emails", "value"): _email(),
    ("emails", "type"): constant("work", _HAS_EMAIL),
    ("active", None): truth(Q(status=User.Status.ACTIVE)),
    ("preferred_language", None): text("language"),
    ("source", None): constant(schemas.ON_PREMISES, _ON_PREMISES),
    ("meta", "resource_type"): constant("User"),
    ("meta", "created"): instant("created_at"),
    ("meta", "last_modified"): instant(Coalesce("changed_at", "created_at")),
}
