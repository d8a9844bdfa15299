"""What was chosen, written to the tables of customers: `STEPS`, in their order, one statement a table."""

_WRITE_TENANTS = """
INSERT INTO directory_tenant
       (id, key, name, kind, standing, is_managed, creates_members, country, time_zone, currency, language, created_at)
SELECT id, gen_random_uuid(), name, 'commercial', 'good', true, true, market, time_zone, currency, 'en',
       %(at)s - interval '2 years'
  FROM seed_tenant ORDER BY id
"""

_WRITE_PEOPLE = """
INSERT INTO directory_user
       (id, tenant_id, key, kind, status, source, name, sort_name, email, issuer, subject, language, purchaser_since,
        created_at, disabled_at)
SELECT p.id, p.tenant_id, p.key, 'member', CASE WHEN p.has_left THEN 'disabled' ELSE 'active' END, 'cloud', p.name,
       p.sort_name, p.email, 'https://issuer-' || p.tenant_id || '.example', p.id::text, '', bought.since,
       %(at)s - interval '2 years', CASE WHEN p.has_left THEN %(at)s END
  FROM seed_person p
  LEFT JOIN (SELECT purchaser_id, min(starts) AS since FROM seed_row WHERE channel <> 'central' GROUP BY 1) bought
         ON bought.purchaser_id = p.id
 ORDER BY p.id
"""

_WRITE_ADMINS = """
INSERT INTO directory_roleassignment (tenant_id, user_id, role, granted_at, granted_by)
SELECT tenant_id, id, 'global_admin', %(at)s - interval '2 years', 'seed_scale' FROM seed_person WHERE place = 1
"""

_WRITE_ADDRESSES = """
INSERT INTO commerce_billto
       (id, tenant_id, name, street, postal_code, city, country, vat_number, own_reference, email)
SELECT bill_to_id, id, name, 'Street 1', '', 'City', market, '', '', '' FROM seed_tenant ORDER BY id
"""

_WRITE_AGREEMENTS = """
WITH agreements AS (
    INSERT INTO commerce_agreement (id, tenant_id, name, payment_days)
    SELECT agreement_id, id, 'Framework agreement', 30 FROM seed_tenant ORDER BY id
    RETURNING id, tenant_id
)
INSERT INTO commerce_agreementprice (tenant_id, agreement_id, plan_id, currency, unit_price_minor)
SELECT a.tenant_id, a.id, o.plan_id, t.currency, o.agreed
  FROM agreements a JOIN seed_tenant t ON t.agreement_id = a.id JOIN seed_offer o ON o.market = t.market
"""

_WRITE_SUBSCRIPTIONS = """
INSERT INTO commerce_subscription
       (id, tenant_id, key, product_id, plan_id, channel, owner_kind, owner_user_id, purchaser_id, agreement_id,
        bill_to_id, product_sort, purchaser_name, purchaser_sort, search_text, quantity, assigned, market_id,
        vendor_entity_id, currency, unit_price_minor, period_price_minor, tax_name, tax_rate, term_months,
        billing_months, time_zone, anchor_date, state, recurring_billing, period_index, period_start, period_end,
        term_end, due_at, activated_at, expired_at, disabled_at, deleted_at, payment_failed_at, parked_reason,
        created_at, version, disabled_reason)
SELECT id, tenant_id, key, product_id, plan_id, channel,
       CASE WHEN channel = 'central' THEN 'organization' ELSE 'person' END,
       CASE WHEN channel <> 'central' THEN purchaser_id END, purchaser_id, agreement_id,
       bill_to_id, product_sort, purchaser_name, purchaser_sort, product_sort || ' ' || purchaser_sort || ' ' || email,
       quantity, 0, market, vendor_entity_id, currency, unit, quantity * unit, tax_name, tax_rate, months,
       months, time_zone, anchor, state, renews, period_index, period_start, period_end,
       period_end, due_at, starts, expired_at, disabled_at, deleted_at, CASE WHEN has_failed THEN period_start END, '',
       starts, 0, CASE WHEN disabled_at IS NOT NULL THEN 'ended' ELSE '' END
  FROM seed_row ORDER BY id
"""

_WRITE_ORDERS = """
INSERT INTO commerce_order (id, tenant_id, key, type, placed_at, actor_user_id, actor_label)
SELECT order_id, tenant_id, order_key,
       CASE channel WHEN 'central' THEN 'central_purchase' WHEN 'trial' THEN 'trial' ELSE 'purchase' END,
       starts, purchaser_id, purchaser_name
  FROM seed_row ORDER BY order_id
"""

_WRITE_ORDER_LINES = """
INSERT INTO commerce_orderline
       (tenant_id, order_id, subscription_id, quantity, currency, unit_price_minor, amount_minor)
SELECT tenant_id, order_id, id, quantity, currency, unit, CASE channel WHEN 'trial' THEN 0 ELSE quantity * unit END
  FROM seed_row ORDER BY order_id
"""

_WRITE_TRIALS = """
INSERT INTO commerce_trial (tenant_id, user_id, product_id, subscription_id, kind, started_at, ends_at)
SELECT tenant_id, purchaser_id, product_id, id, 'card', starts, period_end FROM seed_row WHERE channel = 'trial'
"""

# The counters' rows stay locked from here to the commit; numbers go on where each series stood.
_WRITE_SERIES = """
INSERT INTO commerce_billseries AS series (vendor_entity_id, year, next_number)
SELECT vendor_entity_id, series_year, 1 + count(*) FROM seed_bill GROUP BY 1, 2
ON CONFLICT (vendor_entity_id, year) DO UPDATE SET next_number = series.next_number + excluded.next_number - 1
"""

_WRITE_BILLS = """
WITH series AS (
    SELECT s.vendor_entity_id, s.year, s.next_number - count(*) AS first
      FROM seed_bill b
      JOIN commerce_billseries s ON s.vendor_entity_id = b.vendor_entity_id AND s.year = b.series_year
     GROUP BY s.id
)
INSERT INTO commerce_bill
       (id, tenant_id, number, vendor_entity_id, series_year, series_number, order_id, subscription_id, bill_to_id,
        payer_id, type, status, collection, issued_at, due_at, period_start, period_end, currency, subtotal_minor,
        tax_name, tax_rate, tax_minor, total_minor, paid_minor, paid_at, tries, last_decline, decline_kind, failed_at,
        dunning_step, next_dunning_at)
SELECT b.id, d.tenant_id,
       d.bill_series || '-' || b.series_year || '-' || lpad(number::text, greatest(6, length(number::text)), '0'),
       b.vendor_entity_id, b.series_year, number, d.order_id, d.id, d.bill_to_id,
       CASE WHEN d.channel <> 'central' THEN d.purchaser_id END,
       CASE b.period WHEN 0 THEN 'purchase' ELSE 'renewal' END, CASE WHEN b.is_paid THEN 'paid' ELSE 'open' END,
       CASE WHEN d.channel = 'central' THEN 'on_account' ELSE 'card' END,
       b.starts, CASE WHEN d.channel = 'central' THEN b.starts + interval '30 days' ELSE b.starts END,
       b.starts, b.ends, d.currency, b.subtotal, d.tax_name, d.tax_rate, b.tax, b.subtotal + b.tax,
       CASE WHEN b.is_paid THEN b.subtotal + b.tax ELSE 0 END, CASE WHEN b.is_paid THEN b.starts END,
       b.has_failed::int, CASE WHEN b.has_failed THEN 'generic_decline' ELSE '' END,
       CASE WHEN b.has_failed THEN 'hard' ELSE '' END, CASE WHEN b.has_failed THEN b.starts END,
       CASE WHEN b.has_failed THEN %(end_step)s ELSE 0 END,
       CASE WHEN b.has_failed THEN least(b.starts + make_interval(days => %(deadline_days)s), b.ends) END
  FROM seed_bill b
  JOIN seed_row d ON d.id = b.subscription_id
  JOIN series ON series.vendor_entity_id = b.vendor_entity_id AND series.year = b.series_year
 CROSS JOIN LATERAL (SELECT series.first + b.place - 1 AS number) numbered
 ORDER BY b.id
"""

_WRITE_BILL_LINES = """
INSERT INTO commerce_billline
       (tenant_id, bill_id, description, quantity, unit_price_minor, amount_minor, service_start, service_end)
SELECT d.tenant_id, b.id, d.product, d.quantity, d.unit, b.subtotal, b.starts, b.ends
  FROM seed_bill b JOIN seed_row d ON d.id = b.subscription_id ORDER BY b.id
"""

_WRITE_PAYMENTS = """
INSERT INTO commerce_payment (tenant_id, bill_id, amount_minor, currency, received_at, processor_charge_id)
SELECT d.tenant_id, b.id, b.subtotal + b.tax, d.currency, b.starts,
       CASE WHEN d.channel = 'central' THEN '' ELSE 'ch_made_up_' || b.id END
  FROM seed_bill b JOIN seed_row d ON d.id = b.subscription_id
 WHERE b.is_paid AND b.subtotal + b.tax > 0 ORDER BY b.id
"""

_WRITE_HISTORY = """
WITH steps AS MATERIALIZED (
    SELECT tenant_id, id, key, product, starts AS at,
           CASE channel WHEN 'trial' THEN 'trial_started' ELSE 'purchased' END AS code, purchaser_id AS actor_id,
           purchaser_name AS actor, 'web' AS door,
           jsonb_build_object('order', order_key, 'quantity', quantity, 'unit_price_minor', unit,
                              'currency', currency) AS facts,
           NULL::jsonb AS before,
           jsonb_build_object('channel', channel, 'quantity', quantity, 'unit_price_minor', unit) AS after
      FROM seed_row
     UNION ALL
    SELECT d.tenant_id, d.id, d.key, d.product, b.starts, step.code, NULL, 'Seatkeeper', 'job',
           jsonb_build_object('period', b.period, 'period_start', b.starts, 'period_end', b.ends),
           NULL, jsonb_build_object('period_end', b.ends)
      FROM seed_bill b JOIN seed_row d ON d.id = b.subscription_id
      JOIN (VALUES ('renewed', false), ('payment_failed', true)) step(code, is_failure)
        ON b.has_failed OR NOT step.is_failure
     WHERE b.period > 0
     UNION ALL
    SELECT d.tenant_id, d.id, d.key, d.product, step.at, step.code, NULL, 'Seatkeeper', 'job',
           jsonb_build_object('since', step.at, 'until', step.until), jsonb_build_object('state', step.was),
           jsonb_build_object('state', step.code)
      FROM seed_row d
     CROSS JOIN LATERAL (VALUES ('active', 'expired', d.expired_at, coalesce(d.disabled_at, d.due_at)),
                                ('expired', 'disabled', d.disabled_at, coalesce(d.deleted_at, d.due_at)),
                                ('disabled', 'deleted', d.deleted_at, NULL)) step(was, code, at, until)
     WHERE step.at IS NOT NULL
), history AS (
    INSERT INTO commerce_subscriptionevent (tenant_id, subscription_id, at, code, actor_label, facts)
    SELECT tenant_id, id, at, code, actor, facts FROM steps ORDER BY at, id
)
INSERT INTO directory_auditentry
       (tenant_id, at, code, actor_user_id, actor_tenant_id, actor_label, on_behalf_of, door, correlation_id,
        target_type, target_id, target_label, before, after)
SELECT tenant_id, at, 'commerce.subscription.' || code, actor_id, tenant_id, actor, '', door, 'seed_scale',
       'subscription', key::text, left(product, 200), before, after
  FROM steps ORDER BY at, id
"""

# What people call the rows of the last table that a statement writes, where they want to hear of it.
STEPS: tuple[tuple[str, str], ...] = (
    ("tenants", _WRITE_TENANTS),
    ("people", _WRITE_PEOPLE),
    ("", _WRITE_ADMINS),
    ("", _WRITE_ADDRESSES),
    ("", _WRITE_AGREEMENTS),
    ("subscriptions", _WRITE_SUBSCRIPTIONS),
    ("", _WRITE_ORDERS),
    ("orders", _WRITE_ORDER_LINES),
    ("", _WRITE_TRIALS),
    ("", _WRITE_SERIES),
    ("", _WRITE_BILLS),
    ("bills", _WRITE_BILL_LINES),
    ("payments", _WRITE_PAYMENTS),
    ("steps of history", _WRITE_HISTORY),
)
