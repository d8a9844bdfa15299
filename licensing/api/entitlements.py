"""The one fast call that products make: may this person use this product (product §7.4)."""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from ninja import Router, Schema
from ninja.params.functions import Query
from pydantic import Field

from config.kit import access
from config.kit.api import answers
from config.kit.clock import now
from config.kit.rate import Bucket
from directory.bearer import counting_bad_tokens, secret_of
from directory.permissions import Capability
from directory.tokens import digest_of
from licensing.operations.entitlements import SCOPE, Answer, Data, check_entitlement

router = Router(tags=["Entitlements"])

# At most so many checks, and no more than a fiftieth of a second's, a process counts by itself.
MOST_SHARED: Final = 20


class DataPolicyOut(Schema):
    """What the organization allows to be done with the product's data, for this person."""

    service: Literal["on", "off"]
    externalSharing: bool = Field(description="Whether something may be shared outside the organization.")
    retentionDays: int = Field(description="How long what nobody may use any more is kept.")
    workspaceCreation: Literal["everyone", "holders", "admins"]
    mayCreateWorkspaces: bool = Field(description="Whether this person may.")


class EntitlementOut(Schema):
    """Whether a person may use a product now, and through what."""

    entitled: bool
    reason: Literal["no_license", "account_disabled", "service_off"] | None = Field(description="Why not.")
    userId: UUID
    productId: str = Field(description="The current id, however the product was named.")
    productName: str
    subscriptionId: UUID | None = Field(description="The purchase that gives it.")
    channel: Literal["central", "self-service", "trial"] | None
    owner: Literal["organization", "person"] | None
    state: Literal["active", "expired"] | None
    until: datetime | None = Field(description="The end of the term; once expired, the end of access.")
    renews: bool | None
    dataPolicy: DataPolicyOut | None = Field(
        description="The organization's data policy, the same for every channel; none of a disabled account."
    )


@router.get(
    "",
    response=answers(EntitlementOut, 400, 404),
    url_name="entitlements",
    auth=None,
    openapi_extra={"security": [{"Bearer": []}]},
)
@access.token(SCOPE, sees=Capability.SEE_LICENSES, owns_transaction=True, checks_itself=True)
def check(
    request: HttpRequest,
    user: str = Query(max_length=254, description="The person's id, or an e-mail address of one alone."),
    product: str = Query(max_length=100, description="The product's id, a former one, or its slug."),
) -> JsonResponse:
    """May this person use this product, through which purchase, until when. Counts as a use of the license."""
    with counting_bad_tokens(request):
        digest = digest_of(secret_of(request))
        per_second = settings.ENTITLEMENTS_PER_SECOND
        share = min(MOST_SHARED, max(1, per_second // 50))
        Bucket("entitlements", per_second, per_second, share).take(digest.hex()[:32])
        answer = check_entitlement(digest=digest, user=user, product=product, at=now())
    return JsonResponse(_out(answer))


def _out(answer: Answer) -> dict[str, object]:
    return {
        "entitled": answer.is_entitled,
        "reason": None if answer.is_entitled else answer.reason,
        "userId": answer.user_key,
        "productId": answer.product_key,
        "productName": answer.product_name,
        "subscriptionId": answer.subscription_key,
        "channel": answer.channel,
        "owner": answer.owner_kind,
        "state": answer.state,
        "until": answer.ends_at,
        "renews": answer.is_recurring,
        "dataPolicy": _policy_out(answer.data) if answer.data else None,
    }


def _policy_out(data: Data) -> dict[str, object]:
    return {
        "service": "on" if data.service_on else "off",
        "externalSharing": data.external_sharing,
        "retentionDays": data.retention_days,
        "workspaceCreation": data.creators,
        "mayCreateWorkspaces": data.may_create,
    }
