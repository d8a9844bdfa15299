"""Who may buy a product by card: one decision, with every reason against it (product §3.3).

Pure: reads facts, asks nothing. Where an account comes from, the cloud or an on-premises directory, is no fact
here: both are treated alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from django.utils.translation import gettext as _

from config.kit.money import format_money
from policies.rule import ENABLED as ALLOWED
from policies.rule import TRIALS_ONLY
from policies.spending import Limit, Spending

type Code = Literal[
    "account_inactive",
    "guest",
    "acting_for_customer",
    "tenant_unmanaged",
    "tenant_suspended",
    "government",
    "education",
    "not_sold_in_country",
    "market_closed",
    "category_excluded",
    "product_central_only",
    "product_withdrawn",
    "service_off",
    "policy_disabled",
    "policy_trials_only",
    "policy_undecided",
    "spend_cap",
    "needs_approval",
    "no_free_trial",
    "trial_used",
]

# What is asked for: to buy by card, a trial that turns paid, or one without a card.
type Wanted = Literal["purchase", "trial", "free_trial"]

GOVERNMENT, EDUCATION = "government", "education"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is so at the moment of the decision.

    `has_price`: the market sells the product at all. `market_is_open`: the market takes self-service.
    `category_is_open`: of this product's category too. `policy` is the effective value on the wire;
    `is_undecided`: because an admin is to decide first. `spending`: what the sum means for the limits, where it is known.
    `had_trial`: the person tried this product before. `offers_free_trial`: without a card, too. `service_is_on`: no
    data policy switched the product off for the person.
    """

    organization: str
    product: str
    category: str
    country: str
    account_is_active: bool
    is_guest: bool
    acts_for_customer: bool
    tenant_is_managed: bool
    tenant_is_in_good_standing: bool
    tenant_kind: str
    has_price: bool
    market_is_open: bool
    category_is_open: bool
    product_is_self_service: bool
    policy: str
    had_trial: bool = False
    offers_free_trial: bool = False
    is_undecided: bool = False
    product_is_withdrawn: bool = False
    spending: Spending | None = None
    service_is_on: bool = True


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that stands in the way: what it is, and what the person can do next.

    `leads_home` marks the reasons that a purchase for the person's home organization would settle.
    """

    code: Code
    heading: str
    advice: str
    leads_home: bool = False


@dataclass(frozen=True, slots=True)
class Eligibility:
    """The decision. `reasons` names every one that applies, the person's own first; empty when eligible."""

    reasons: tuple[Reason, ...]

    @property
    def is_eligible(self) -> bool:
        return not self.reasons

    @property
    def codes(self) -> tuple[Code, ...]:
        return tuple(reason.code for reason in self.reasons)


def decide(facts: Facts, wanted: Wanted = "purchase") -> Eligibility:
    """Whether the person may buy, or start a trial, with all reasons, in the language in use."""
    return Eligibility(
        (
            *_of_the_person(facts),
            *_of_the_organization(facts),
            *_of_the_market(facts),
            *_of_the_policy(facts, wanted),
            *(_of_the_trial(facts, wanted) if wanted != "purchase" else _of_the_sum(facts)),
        )
    )


def _of_the_person(facts: Facts) -> Iterator[Reason]:
    names = {"organization": facts.organization}
    if not facts.account_is_active:
        yield Reason(
            "account_inactive",
            _("Your account is disabled"),
            _("Ask the IT admins of %(organization)s to enable it.") % names,
        )
    if facts.is_guest:
        yield Reason(
            "guest",
            _("You are a guest of %(organization)s") % names,
            _("Guests hold licenses that others assign to them. Buy for your home organization instead."),
            leads_home=True,
        )
    if facts.acts_for_customer:
        yield Reason(
            "acting_for_customer",
            _("You act for %(organization)s") % names,
            _("Only its own members buy by card. Go back to your own organization to buy for it."),
            leads_home=True,
        )


def _of_the_organization(facts: Facts) -> Iterator[Reason]:
    names = {"organization": facts.organization}
    if not facts.tenant_is_managed:
        yield Reason(
            "tenant_unmanaged",
            _("%(organization)s is not set up yet") % names,
            _("Nobody manages this organization here. Ask us to set it up."),
        )
    if not facts.tenant_is_in_good_standing:
        yield Reason(
            "tenant_suspended",
            _("%(organization)s is suspended") % names,
            _("Until its open bills are settled nothing can be bought. Ask your IT admins about it."),
        )
    if facts.tenant_kind == GOVERNMENT:
        yield Reason(
            "government",
            _("Self-service is not available to government organizations"),
            _("%(organization)s buys its licenses centrally. Your IT admins can assign you one.") % names,
        )
    if facts.tenant_kind == EDUCATION:
        yield Reason(
            "education",
            _("Self-service is not available to schools and universities"),
            _("%(organization)s buys its licenses centrally. Your IT admins can assign you one.") % names,
        )


def _of_the_market(facts: Facts) -> Iterator[Reason]:
    names = {
        "organization": facts.organization,
        "product": facts.product,
        "category": facts.category,
        "country": facts.country,
    }
    if facts.product_is_withdrawn:
        yield Reason(
            "product_withdrawn",
            _("%(product)s is not sold any more") % names,
            _("Who has it keeps it, and it renews. Ask your IT admins what you can use instead."),
        )
        return
    if not facts.has_price:
        yield Reason(
            "not_sold_in_country",
            _("%(product)s is not sold in your country") % names,
            _("The country is that of %(organization)s. Ask your IT admins what you can use instead.")
            % names,
        )
    elif not facts.market_is_open:
        yield Reason(
            "market_closed",
            _("Self-service is not available in %(country)s") % names,
            _("%(organization)s can buy centrally. Your IT admins can assign you a license.") % names,
        )
    elif not facts.category_is_open:
        yield Reason(
            "category_excluded",
            _("%(category)s products are not sold by self-service in %(country)s") % names,
            _("%(organization)s can buy them centrally. Your IT admins can assign you a license.") % names,
        )
    if not facts.product_is_self_service:
        yield Reason(
            "product_central_only",
            _("%(product)s is not sold by self-service") % names,
            _("%(organization)s can buy it centrally. Your IT admins can assign you a license.") % names,
        )


def _of_the_policy(facts: Facts, wanted: Wanted) -> Iterator[Reason]:
    names = {"organization": facts.organization, "product": facts.product}
    if not facts.service_is_on:
        yield Reason(
            "service_off",
            _("%(organization)s switched %(product)s off") % names,
            _(
                "Nobody can use it, however it was bought. Your IT admins can switch it on, or say what to use."
            ),
        )
    if facts.policy == TRIALS_ONLY and wanted == "free_trial":
        return
    if facts.policy == TRIALS_ONLY and wanted == "trial":
        yield Reason(
            "policy_trials_only",
            _("%(organization)s allows %(product)s only as a trial without a card") % names,
            _("Your IT admins set this for everybody. They can assign you a license or allow the purchase."),
        )
    elif facts.policy == TRIALS_ONLY:
        yield Reason(
            "policy_trials_only",
            _("%(organization)s allows %(product)s as a trial only") % names,
            _("Your IT admins set this for everybody. They can assign you a license or allow the purchase."),
        )
    elif facts.is_undecided:
        yield Reason(
            "policy_undecided",
            _("%(organization)s has not decided about %(product)s yet") % names,
            _("It is new. Your IT admins were told; until they decide nobody can buy or try it."),
        )
    elif facts.policy != ALLOWED:
        yield Reason(
            "policy_disabled",
            _("%(organization)s does not allow buying %(product)s") % names,
            _("Your IT admins set this for everybody. They can assign you a license or allow the purchase."),
        )


def _of_the_sum(facts: Facts) -> Iterator[Reason]:
    """Of a purchase alone: a trial costs nothing, and what it turns into is a renewal."""
    spending = facts.spending
    if spending is not None:
        yield from of_the_sum(spending, facts.organization)


def of_the_sum(spending: Spending, organization: str) -> Iterator[Reason]:
    """Why the limits refuse a purchase; nothing where it keeps within them."""
    names = {"organization": organization, "spent": format_money(spending.spent_minor, spending.currency)}
    if spending.verdict == "over_cap" and spending.limits.cap is not None:
        yield Reason(
            "spend_cap",
            _("This is more than %(organization)s lets a person spend") % names,
            f"{_says_limit(spending, spending.limits.cap)} {_('Buy fewer licenses, or ask your IT admins.')}",
        )
    elif spending.verdict == "needs_approval" and spending.limits.threshold is not None:
        yield Reason(
            "needs_approval",
            _("%(organization)s approves a purchase of this size first") % names,
            f"{_says_limit(spending, spending.limits.threshold)} "
            f"{_('Ask your IT admins to approve it; an approval is good for 14 days.')}",
        )


def _says_limit(spending: Spending, limit: Limit) -> str:
    """The limit, and what it is compared with."""
    facts = {
        "limit": format_money(limit.minor, spending.limits.currency),
        "spent": format_money(spending.spent_minor, spending.currency),
    }
    if limit.basis == "purchase":
        return _("The limit is %(limit)s for each purchase, without tax.") % facts
    return _("The limit is %(limit)s a month, without tax; you have spent %(spent)s this month.") % facts


def _of_the_trial(facts: Facts, wanted: Wanted) -> Iterator[Reason]:
    names = {"product": facts.product}
    if wanted == "free_trial" and not facts.offers_free_trial:
        yield Reason(
            "no_free_trial",
            _("There is no trial of %(product)s without a card") % names,
            _("Start the trial with a card, or ask your IT admins for a license."),
        )
    if facts.had_trial:
        yield Reason(
            "trial_used",
            _("You have tried %(product)s before") % names,
            _("There is one trial for each person and product. Buy it, or ask your IT admins for a license."),
        )
