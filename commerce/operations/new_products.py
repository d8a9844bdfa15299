"""Telling admins of products that await their decision (product §9, §15)."""

from datetime import datetime

from django.conf import settings

from config.kit.tenancy import atomic, connection, use_login
from directory.operations.mail import QUEUE_SQL


def tell_of_new_products(*, at: datetime) -> int:
    """Queue the mails about products on which an organization wants to decide, once each; how many were queued.

    To the active global and billing admins, with a link to the page that decides. Undecided as `policies.rule` says: it
    came after the rule for new products, and nothing was said of it, of a former id or of its category. One statement,
    under the worker's login.
    """
    with use_login("worker"), atomic(), connection().cursor() as cursor:
        cursor.execute(_TELL, {"at": at, "public_url": settings.PUBLIC_URL})
        told: int = cursor.fetchone()[0]
    return told


_TELL = f"""
WITH mail AS MATERIALIZED (
    SELECT t.id AS tenant_id, NULL::bigint AS owner_id, 'new_product' AS kind, t.id || ':' || product.key AS event_key,
           jsonb_build_object(
               'organization', t.name, 'product', product.name, 'category', product.category,
               'has_trial', product.trial_without_card,
               'link', %(public_url)s || '/admin/billing/policy/products/' || product.slug || '/') AS context
      FROM policies_tenantpolicy policy
      JOIN directory_tenant t ON t.id = policy.tenant_id AND t.kind NOT IN ('government', 'education')
      JOIN commerce_product product ON product.self_service AND product.withdrawn_at IS NULL AND product.added_at > policy.new_products_since
     WHERE policy.new_products_value = 'Ask'
       AND NOT EXISTS (SELECT FROM policies_categorypolicy c
                        WHERE c.tenant_id = t.id AND c.category = product.category)
       AND NOT EXISTS (SELECT FROM policies_productpolicy p
                        WHERE p.tenant_id = t.id
                          AND (p.product_key = product.key
                               OR p.product_key IN (SELECT a.former_key FROM commerce_productalias a
                                                     WHERE a.product_id = product.id)))
), mails AS ({QUEUE_SQL.format(source="mail")})
SELECT count(*) FROM mails
"""  # noqa: S608
