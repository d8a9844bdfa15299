"""Who may buy a product by card (product §3.3)."""

from dataclasses import replace

import pytest

from policies.eligibility import Facts, decide

MEMBER = Facts(
    organization="Contoso",
    product="Power BI Pro",
    category="Power Platform",
    country="Netherlands",
    account_is_active=True,
    is_guest=False,
    acts_for_customer=False,
    tenant_is_managed=True,
    tenant_is_in_good_standing=True,
    tenant_kind="commercial",
    has_price=True,
    market_is_open=True,
    category_is_open=True,
    product_is_self_service=True,
    policy="Enabled",
)


def test_an_active_member_of_a_commercial_tenant_may_buy() -> None:
    decision = decide(MEMBER)

    assert decision.is_eligible
    assert decision.reasons == ()


def test_a_non_profit_may_buy() -> None:
    assert decide(replace(MEMBER, tenant_kind="nonprofit")).is_eligible


@pytest.mark.parametrize(
    ("fact", "value", "code", "heading"),
    [
        ("account_is_active", False, "account_inactive", "Your account is disabled"),
        ("is_guest", True, "guest", "You are a guest of Contoso"),
        ("acts_for_customer", True, "acting_for_customer", "You act for Contoso"),
        ("tenant_is_managed", False, "tenant_unmanaged", "Contoso is not set up yet"),
        ("tenant_is_in_good_standing", False, "tenant_suspended", "Contoso is suspended"),
        (
            "tenant_kind",
            "government",
            "government",
            "Self-service is not available to government organizations",
        ),
        (
            "tenant_kind",
            "education",
            "education",
            "Self-service is not available to schools and universities",
        ),
        ("has_price", False, "not_sold_in_country", "Power BI Pro is not sold in your country"),
        ("market_is_open", False, "market_closed", "Self-service is not available in Netherlands"),
        (
            "category_is_open",
            False,
            "category_excluded",
            "Power Platform products are not sold by self-service in Netherlands",
        ),
        (
            "product_is_self_service",
            False,
            "product_central_only",
            "Power BI Pro is not sold by self-service",
        ),
        ("product_is_withdrawn", True, "product_withdrawn", "Power BI Pro is not sold any more"),
        ("policy", "Disabled", "policy_disabled", "Contoso does not allow buying Power BI Pro"),
        (
            "policy",
            "OnlyTrialsWithoutPaymentMethod",
            "policy_trials_only",
            "Contoso allows Power BI Pro as a trial only",
        ),
    ],
)
def test_each_fact_alone_is_a_reason(fact: str, value: object, code: str, heading: str) -> None:
    decision = decide(replace(MEMBER, **{fact: value}))  # type: ignore[arg-type]

    assert decision.codes == (code,)
    assert decision.reasons[0].heading == heading
    assert decision.reasons[0].advice


def test_all_reasons_are_named_the_persons_own_first() -> None:
    decision = decide(
        replace(
            MEMBER,
            account_is_active=False,
            is_guest=True,
            tenant_is_in_good_standing=False,
            tenant_kind="government",
            market_is_open=False,
            product_is_self_service=False,
            policy="Disabled",
        )
    )

    assert decision.codes == (
        "account_inactive",
        "guest",
        "tenant_suspended",
        "government",
        "market_closed",
        "product_central_only",
        "policy_disabled",
    )


def test_where_nothing_is_sold_that_alone_is_said_of_the_market() -> None:
    decision = decide(replace(MEMBER, has_price=False, market_is_open=False, category_is_open=False))

    assert decision.codes == ("not_sold_in_country",)


def test_only_being_elsewhere_leads_home() -> None:
    decision = decide(replace(MEMBER, is_guest=True, policy="Disabled"))

    assert [reason.leads_home for reason in decision.reasons] == [True, False]


def test_an_unknown_policy_value_stops_buying() -> None:
    assert decide(replace(MEMBER, policy="SomethingNew")).codes == ("policy_disabled",)
