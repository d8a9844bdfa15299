"""Tokens by which a page of a product on another site asks what to draw for somebody (docs/adr/0045).

The product's server gets one with its own token and puts it on the page; the script hands it in. It is encrypted, so it
says nothing to the page, and stands for one person and one product for ten minutes. Its instants are real time.
"""

import json
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.translation import gettext_lazy as _

from commerce.models import Product
from config.kit.actors import Actor
from config.kit.errors import DomainError, NotVisible
from config.kit.secrets import Undecipherable, decrypt, encrypt
from directory.models import User
from directory.permissions import Capability

LIVES = timedelta(minutes=10)
LONGEST = 1_000
_PURPOSE = "prompt"


class PromptTokenOver(DomainError):
    """It is too old, of another product, or none."""

    code = "prompt_token_over"
    status = 401
    message = _("This prompt token is no longer good. Ask for a new one.")


@dataclass(frozen=True, slots=True)
class PromptToken:
    """A new token, and of whom it is."""

    token: str
    user: User
    product: Product
    expires_at: datetime


def issue_prompt_token(*, actor: Actor, user: str, product: Product, real_at: datetime) -> PromptToken:
    """A token for the page that `user` (id, or an e-mail address of one account alone) has open; inside `tenant_atomic`.

    :raises NotVisible: no such person, several with that address, or none whose licenses the actor sees.
    """
    person = _person(user)
    if person is None:
        raise NotVisible
    if not actor.reaches(Capability.SEE_LICENSES, is_own=person.pk == actor.user_id, is_org=False):
        raise NotVisible
    expires_at = real_at + LIVES
    facts = [_PURPOSE, person.tenant_id, person.pk, product.pk, int(expires_at.timestamp())]
    return PromptToken(encrypt(json.dumps(facts)), person, product, expires_at)


def read_prompt_token(token: str, *, product: Product, real_at: datetime) -> tuple[int, int]:
    """Tenant and account of a token. :raises PromptTokenOver: it is not good for this product now."""
    try:
        if len(token) > LONGEST or not token.isascii():
            raise PromptTokenOver
        purpose, tenant_id, user_id, product_id, expires = json.loads(decrypt(token))
    except (Undecipherable, ValueError, TypeError):
        raise PromptTokenOver from None
    if purpose != _PURPOSE or product_id != product.pk or expires <= real_at.timestamp():
        raise PromptTokenOver
    return tenant_id, user_id


def _person(text: str) -> User | None:
    """Of the tenant that is set. Two accounts with one address are nobody: guessing would answer for the wrong one."""
    try:
        found = User.objects.filter(key=uuid.UUID(text))
    except ValueError:
        found = User.objects.filter(email__in={text, text.lower()})
    people = list(found.exclude(status=User.Status.DELETED)[:2])
    return people[0] if len(people) == 1 else None
