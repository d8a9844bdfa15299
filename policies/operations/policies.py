"""Changing what a tenant allows (product §9)."""

from collections.abc import Sequence
from datetime import datetime

from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Malformed
from config.kit.tenancy import tenant_atomic
from directory.operations import audit
from directory.permissions import Capability
from policies.models import PolicyValue, ProductPolicy, TenantPolicy
from policies.queries.policies import ContactText, contact_text, effective_value

CONTACT_TEXT_LENGTH = 1000
_is_web_address = URLValidator(schemes=["https", "http"])


def set_product_policy(
    *, actor: Actor, product_keys: Sequence[str], value: str, at: datetime
) -> ProductPolicy:
    """Allow a product, for trials only, or not at all, from now on; what was bought is untouched.

    `product_keys`: the product's current key first, former ones after it, whose rows move to the current key.
    Setting the value that is in force writes nothing but makes it the product's own.

    :raises NotVisible, NotAllowed: the actor may not read, or not change, the policy.
    :raises Malformed: no such value.
    """
    if value not in PolicyValue.values:
        raise Malformed(_("That is no value of this policy."), field="value")
    with tenant_atomic(actor):
        _require(actor, Capability.CHANGE_POLICY, sees=Capability.READ_POLICY)
        key, *former = product_keys
        before = effective_value(actor=actor, product_keys=product_keys)
        ProductPolicy.objects.visible_to(actor).filter(product_key__in=former).delete()
        policy, _created = ProductPolicy.objects.visible_to(actor).update_or_create(
            tenant_id=actor.tenant_id,
            product_key=key,
            defaults={"value": value, "changed_at": at, "changed_by": actor.label},
        )
        audit.record(
            actor,
            "policies.product_policy.changed",
            at=at,
            target_type="product",
            target_id=key,
            before={"value": before},
            after={"value": value},
        )
        saved: ProductPolicy = policy
        return saved


def set_contact_text(*, actor: Actor, text: str, url: str, at: datetime) -> ContactText:
    """Write what people read who may not buy, with one link; both may be empty.

    :raises NotVisible: the actor has no part in it.
    :raises Malformed: the text is too long or the link is no web address; `field` names which.
    """
    text, url = text.replace("\x00", "").strip(), url.strip()
    if len(text) > CONTACT_TEXT_LENGTH:
        raise Malformed(_("The text is longer than 1,000 characters."), field="text")
    if url:
        try:
            _is_web_address(url)
        except ValidationError as error:
            raise Malformed(_("That is no web address."), field="url") from error
    with tenant_atomic(actor):
        _require(actor, Capability.EDIT_CONTACT_TEXT, sees=Capability.EDIT_CONTACT_TEXT)
        before = contact_text(actor=actor)
        TenantPolicy.objects.visible_to(actor).update_or_create(
            tenant_id=actor.tenant_id, defaults={"it_contact_text": text, "it_contact_url": url}
        )
        audit.record(
            actor,
            "policies.contact_text.changed",
            at=at,
            target_type="tenant",
            target_id=actor.tenant_id,
            before={"text": before.text, "url": before.url},
            after={"text": text, "url": url},
        )
    return ContactText(text, url)


def _require(actor: Actor, capability: str, *, sees: str) -> None:
    actor.require(capability, is_own=False, is_org=True, sees=sees)
