"""Tokens for the purchase prompts that products embed (product §3.1, docs/embed.md)."""

from datetime import datetime
from uuid import UUID

from django.http import HttpRequest
from ninja import Router, Schema
from ninja.params.functions import Query
from pydantic import Field

from commerce.queries.catalogue import named_product
from config.kit import access
from config.kit.api import actor_of, answers
from config.kit.clock import real_now
from config.kit.errors import NotVisible
from directory.permissions import Capability
from licensing.operations.prompts import issue_prompt_token

router = Router(tags=["Prompts"])


class PromptTokenOut(Schema):
    """What a page hands to the script; it stands for one person and one product and lets nobody sign in."""

    token: str = Field(description="For data-token on the page. Says nothing to whoever reads it.")
    expiresAt: datetime
    userId: UUID
    productId: str


@router.get("{product}", response=answers(PromptTokenOut, 400, 404), url_name="prompt")
@access.token("licenses.read", sees=Capability.SEE_LICENSES)
def prompt_token(
    request: HttpRequest,
    product: str,
    user: str = Query(max_length=254, description="The person's id, or an e-mail address of one alone."),
) -> PromptTokenOut:
    """A token for ten minutes, by which the page of a product asks what to draw for a person."""
    if "\0" in user:
        raise NotVisible
    found = named_product(product)
    issued = issue_prompt_token(actor=actor_of(request), user=user, product=found, real_at=real_now())
    return PromptTokenOut(
        token=issued.token, expiresAt=issued.expires_at, userId=issued.user.key, productId=found.key
    )
