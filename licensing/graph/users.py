"""People, what they hold, and giving and taking it by SKU."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from ninja import Router, Schema
from ninja.params.functions import Query
from pydantic import Field

from commerce.models import Product
from config.kit import access
from config.kit.actors import Actor
from config.kit.api import In, actor_of
from config.kit.clock import now
from config.kit.errors import Malformed, NotVisible
from directory.models import User
from directory.models.people import fold, fold_user_name
from directory.permissions import Capability
from directory.queries import people_where, person_named
from licensing.graph.odata import (
    Chosen,
    Filters,
    Ordered,
    Value,
    check_options,
    conditions,
    id_of,
    instant,
    next_link,
    selected,
    text_of,
    truth_of,
)
from licensing.graph.shapes import ServicePlanOut, graph_answers, listed, only, plan_id_of, service_plans
from licensing.operations.assignments import GuestsExcluded, NoSeatLeft, NotAssignable, PersonNotActive
from licensing.operations.person_licenses import NothingBought, change_licenses_of
from licensing.queries.holders import sees_others_licenses
from licensing.queries.skus import held_by, sku_ids_of

LIST = access.token("licenses.read", sees=Capability.SEE_PEOPLE)
LOOK_UP = access.token("licenses.read", sees=Capability.LOOK_UP_PEOPLE)
READ = access.token("licenses.read", sees=Capability.SEE_LICENSES)
ASSIGN = access.token("licenses.write", sees=Capability.SEE_LICENSES, may=Capability.ASSIGN)
MOST_SKUS = 100

router = Router(tags=["In the shapes of Microsoft Graph"])


class AssignedLicenseOut(Schema):
    """A product that somebody holds."""

    skuId: UUID
    disabledPlans: list[UUID]


class UserOut(Schema):
    """One account. Whoever may not see people gets the first six of colleagues; the rest is null."""

    id: UUID | None = None
    displayName: str | None = None
    givenName: str | None = None
    surname: str | None = None
    mail: str | None = None
    userPrincipalName: str | None = Field(None, description="The directory's user name, else the address.")
    accountEnabled: bool | None = None
    userType: Literal["Member", "Guest"] | None = None
    preferredLanguage: str | None = None
    createdDateTime: datetime | None = None
    onPremisesSyncEnabled: bool | None = Field(None, description="True or null, as Graph has it.")
    assignedLicenses: list[AssignedLicenseOut] | None = Field(
        None, description="Only where selected, as far as the token's person sees licenses."
    )


class Users(Schema):
    value: list[UserOut]
    next_link: str = Field("", alias="@odata.nextLink", description="Absent on the last page.")


class LicenseDetailsOut(Schema):
    """A product that somebody holds a license of, once, from however many purchases."""

    id: str = ""
    skuId: UUID | None = None
    skuPartNumber: str = ""
    servicePlans: list[ServicePlanOut] = Field(
        [], description="`Disabled` where no purchase gives access any more."
    )


class LicenseDetails(Schema):
    value: list[LicenseDetailsOut]


class AssignedLicense(In):
    skuId: str = Field(max_length=40)
    disabledPlans: list[str] | None = Field(
        None, max_length=MOST_SKUS, description="Empty: a product has one plan, which goes with its license."
    )


class Licenses(In):
    """What to give and what to take back, by SKU."""

    addLicenses: list[AssignedLicense] = Field([], max_length=MOST_SKUS)
    removeLicenses: list[str] = Field([], max_length=MOST_SKUS)


class Unusable(Malformed):
    """What was asked for cannot be had now; Graph says so with 400."""

    code = "not_assigned"


PROPERTIES = tuple(UserOut.model_fields)
USUAL = tuple(name for name in PROPERTIES if name != "assignedLicenses")
BASIC = frozenset(PROPERTIES[:6])
DETAILS = tuple(LicenseDetailsOut.model_fields)
_KINDS = {"Member": User.Kind.MEMBER, "Guest": User.Kind.GUEST}


def _by_mail(value: Value) -> Q:
    address = text_of(value)
    return Q(email__in={address, address.lower()})


def _by_principal_name(value: Value) -> Q:
    return Q(user_name_folded=fold_user_name(text_of(value))) | Q(user_name="") & _by_mail(value)


def _by_type(value: Value) -> Q:
    kind = _KINDS.get(text_of(value))
    return Q(kind=kind) if kind else Q(pk__in=[])


FILTERS: Filters = {
    ("id", "eq"): lambda value: Q(key=id_of(value)),
    ("displayName", "eq"): lambda value: Q(sort_name=fold(text_of(value))),
    ("displayName", "startswith"): lambda value: Q(sort_name__startswith=fold(text_of(value))),
    ("mail", "eq"): _by_mail,
    ("userPrincipalName", "eq"): _by_principal_name,
    ("accountEnabled", "eq"): lambda value: (
        Q(status=User.Status.ACTIVE) if truth_of(value) else ~Q(status=User.Status.ACTIVE)
    ),
    ("userType", "eq"): _by_type,
}
ORDERS = {"": False, "displayName": False, "displayName asc": False, "displayName desc": True}


@router.get("", response=graph_answers(Users, 400), url_name="graph-users", exclude_unset=True, by_alias=True)
@LIST
def list_users(request: HttpRequest, wanted: Ordered = Query(...)) -> Users:
    """Everybody but deleted accounts, by name."""
    check_options(request, Ordered)
    names = selected(wanted.select, PROPERTIES, usual=USUAL)
    if wanted.orderby not in ORDERS:
        raise Malformed(_("That is nothing to sort by."), field="$orderby")
    _named, asked = conditions(wanted.filter, FILTERS)
    actor = actor_of(request)
    page = people_where(
        actor, asked, descending=ORDERS[wanted.orderby], cursor=wanted.skiptoken, size=wanted.top
    )
    return listed(Users, _users(actor, page.rows, names), next_link(request, page))


@router.get(
    "/{user_id}", response=graph_answers(UserOut, 400, 404), url_name="graph-user", exclude_unset=True
)
@LOOK_UP
def get_user(request: HttpRequest, user_id: str, wanted: Chosen = Query(...)) -> UserOut:
    """One account, by id, user name or address. Whoever may only look people up gets name and addresses."""
    check_options(request, Chosen)
    names = selected(wanted.select, PROPERTIES, usual=USUAL)
    actor = actor_of(request)
    (shown,) = _users(actor, [person_named(actor, user_id)], names)
    return shown


@router.get(
    "/{user_id}/licenseDetails",
    response=graph_answers(LicenseDetails, 400, 404),
    url_name="graph-license-details",
    exclude_unset=True,
)
@READ
def list_license_details(request: HttpRequest, user_id: str, wanted: Chosen = Query(...)) -> LicenseDetails:
    """What somebody holds, as far as the token's person sees it; of others only for who sees others' licenses."""
    check_options(request, Chosen)
    names = selected(wanted.select, DETAILS, usual=DETAILS)
    actor = actor_of(request)
    person = person_named(actor, user_id)
    if person.pk != actor.user_id and not sees_others_licenses(actor):
        raise NotVisible
    facts = [
        {
            "id": f"{person.key}_{held.product.sku_id}",
            "skuId": held.product.sku_id,
            "skuPartNumber": held.product.sku_part_number,
            "servicePlans": service_plans(held.product, gives_access=held.gives_access),
        }
        for held in held_by(actor, person)
    ]
    return listed(LicenseDetails, [only(LicenseDetailsOut, each, names) for each in facts])


@router.post(
    "/{user_id}/assignLicense",
    response=graph_answers(UserOut, 400, 404, 409),
    url_name="graph-assign-license",
    exclude_unset=True,
)
@ASSIGN
def assign_license(request: HttpRequest, user_id: str, payload: Licenses) -> UserOut:
    """Give and take licenses of products, all of it or nothing; the same again changes nothing.

    Seats come from what the token's person may assign: central first, then taken over, then the own.
    """
    actor = actor_of(request)
    person = person_named(actor, user_id)
    add, remove = _asked(payload)
    try:
        change_licenses_of(actor=actor, user_id=person.pk, add=add, remove=remove, at=now())
    except (GuestsExcluded, NoSeatLeft, NotAssignable, NothingBought, PersonNotActive) as error:
        raise Unusable(str(error), field="addLicenses") from error
    (shown,) = _users(actor, [person], frozenset(USUAL))
    return shown


def _asked(payload: Licenses) -> tuple[list[Product], list[Product]]:
    """The products to give and those to take. One query.

    :raises Malformed: neither list, no SKU of ours, one twice, or one to give without its plan.
    """
    if not payload.model_fields_set:
        raise Malformed(_("Say what to add or to remove."), field="addLicenses")
    add = {_id(each.skuId): each for each in payload.addLicenses}
    remove = {_id(sku_id) for sku_id in payload.removeLicenses}
    if len(add) < len(payload.addLicenses) or remove & set(add):
        raise Malformed(_("One product is named twice."), field="addLicenses")
    products = {row.sku_id: row for row in Product.objects.filter(sku_id__in=remove | set(add))}
    for sku_id in (*add, *remove):
        if sku_id not in products:
            raise Malformed(_("There is no product with the SKU %(sku)s.") % {"sku": sku_id}, field="skuId")
    for sku_id, each in add.items():
        _check_plans(sku_id, each.disabledPlans or ())
    return [products[sku_id] for sku_id in add], [products[sku_id] for sku_id in sorted(remove)]


def _check_plans(sku_id: UUID, disabled: Iterable[str]) -> None:
    for plan in disabled:
        if _id(plan) != plan_id_of(sku_id):
            raise Malformed(
                _("The product has no service plan %(plan)s.") % {"plan": _id(plan)}, field="disabledPlans"
            )
        raise Malformed(
            _("This is the product's only plan. Take the license back instead."), field="disabledPlans"
        )


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Malformed(_("This is no id."), field="skuId") from None


def _users(actor: Actor, people: Sequence[User], names: frozenset[str]) -> list[UserOut]:
    """One query where licenses are asked for, else none."""
    held: Mapping[int, Sequence[UUID]] = {}
    if "assignedLicenses" in names:
        held = sku_ids_of(actor, [person.pk for person in people])
    sees_all = actor.may(Capability.SEE_PEOPLE)
    shown = []
    for person in people:
        facts = _facts(person, held.get(person.pk, ()))
        if not (sees_all or person.pk == actor.user_id):
            facts = {name: fact if name in BASIC else None for name, fact in facts.items()}
        shown.append(only(UserOut, facts, names))
    return shown


def _facts(person: User, sku_ids: Sequence[UUID]) -> dict[str, Any]:
    return {
        "id": person.key,
        "displayName": person.name,
        "givenName": person.given_name or None,
        "surname": person.family_name or None,
        "mail": person.email or None,
        "userPrincipalName": person.user_name or person.email or None,
        "accountEnabled": person.is_active,
        "userType": "Guest" if person.kind == User.Kind.GUEST else "Member",
        "preferredLanguage": person.language or None,
        "createdDateTime": instant(person.created_at),
        "onPremisesSyncEnabled": True if person.source == User.Source.ON_PREMISES else None,
        "assignedLicenses": [AssignedLicenseOut(skuId=sku_id, disabledPlans=[]) for sku_id in sku_ids],
    }
