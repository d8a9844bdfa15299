"""What people make in products, over the wire: a product makes it for a person, and lists it (product §14, §16)."""

from datetime import datetime
from uuid import UUID

from django.http import HttpRequest
from ninja import Router, Schema
from ninja.params.functions import Query
from pydantic import Field

from commerce.queries.catalogue import product_of_id
from config.kit import access
from config.kit.api import In, actor_of, answers
from config.kit.clock import now
from config.kit.errors import NotVisible
from directory.models import User
from directory.permissions import Capability
from licensing.models import Workspace
from licensing.operations.workspaces import NAME_LENGTH, make_workspace
from licensing.queries.workspaces import workspace_for, workspaces_page

READ = access.token("licenses.read", sees=Capability.SEE_WORKSPACES)
MAKE = access.token("licenses.write", sees=Capability.SEE_WORKSPACES)

router = Router(tags=["Workspaces"])


class WorkspaceOut(Schema):
    """What somebody made in a product. It belongs to the organization."""

    id: UUID
    name: str
    productId: str
    makerId: UUID
    holderId: UUID = Field(description="Who has it now.")
    madeAt: datetime
    shared: bool = Field(description="Outside the organization.")
    deletesAt: datetime | None = Field(description="When it is deleted, if nobody may use it until then.")


class Workspaces(Schema):
    items: list[WorkspaceOut]
    next: str | None = Field(description="The cursor of the next page.")


class Make(In):
    product: str = Field(max_length=100, description="A product's current or former id.")
    name: str = Field(min_length=1, max_length=NAME_LENGTH)
    user: UUID | None = Field(
        None, strict=False, description="For whom, by a service token; nobody: the token's own person."
    )


@router.get("", response=answers(Workspaces, 400, 404), url_name="workspaces")
@READ
def list_workspaces(
    request: HttpRequest,
    product: str = Query("", max_length=100, description="A product's current or former id."),
    person: str = Query(
        "", max_length=100, description="Part of the name or address of who made it or has it."
    ),
    cursor: str = Query("", max_length=1_000),
) -> Workspaces:
    """The organization's, for who sees them all; else those of the token's person. 50 at a time, the latest first."""
    product_id = product_of_id(product).pk if product else None
    page = workspaces_page(
        actor_of(request), cursor=cursor, product_id=product_id, person=person.replace("\0", "")
    )
    return Workspaces(items=[_out(row) for row in page.rows], next=page.next or None)


@router.post("", response=answers(WorkspaceOut, 400, 404, 409, status=201), url_name="workspaces")
@MAKE
def create_workspace(request: HttpRequest, payload: Make) -> tuple[int, WorkspaceOut]:
    """Make one, as the data policy lets the person. Honors Idempotency-Key."""
    actor = actor_of(request)
    user_id = None
    if payload.user is not None:
        user = User.objects.visible_to(actor).filter(key=payload.user).first()
        if user is None:
            raise NotVisible
        user_id = user.pk
    made = make_workspace(
        actor=actor, product=product_of_id(payload.product), name=payload.name, user_id=user_id, at=now()
    )
    return 201, _out(workspace_for(actor, made.key))


def _out(row: Workspace) -> WorkspaceOut:
    return WorkspaceOut(
        id=row.key,
        name=row.name,
        productId=row.product.key,
        makerId=row.maker.key,
        holderId=row.holder.key,
        madeAt=row.made_at,
        shared=row.is_shared,
        deletesAt=row.deletes_at,
    )
