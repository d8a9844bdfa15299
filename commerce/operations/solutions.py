"""Partners' solutions: sent in by the partner, approved by the vendor's staff (product §12)."""

import uuid
from datetime import datetime

from django.utils.translation import gettext_lazy as _

from commerce.models import Product, Solution
from commerce.operations.addresses import host_of_page
from commerce.queries.staff_lists import SOLUTIONS
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotVisible
from config.kit.listings import find
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import Domain, Tenant
from directory.operations.audit import record
from directory.operations.staff_deeds import acting_in, note_at_home, require_staff
from directory.permissions import Capability
from directory.staff import StaffCapability

LONGEST_TITLE, LONGEST_DESCRIPTION = 100, 500
# So many of a partner wait or are shown.
MOST = 50
State = Solution.State
_LIVE = (State.WAITING, State.APPROVED)


class SolutionDecided(Conflict):
    """It is not in the state that the button was shown for."""

    code = "solution_decided"
    message = _("This was decided or withdrawn meanwhile. Nothing was changed.")


class TooManySolutions(Conflict):
    """The partner has enough."""

    code = "too_many_solutions"
    message = _("You have so many solutions already. Nothing was sent in. Withdraw one first.")


def may_publish(actor: Actor) -> bool:
    """The global admins of a partner, at home."""
    return not actor.is_partner and actor.is_of_partner and actor.may(Capability.ASK_RELATIONSHIP)


def send_in_solution(
    *, actor: Actor, product: str, title: str, description: str, url: str, at: datetime
) -> Solution:
    """Offer something beside a product; nobody else sees it until the vendor's staff approve it. `product` is a slug.

    :raises NotVisible: the actor's organization is no partner, or the actor none of its global admins.
    :raises Malformed: no product, no title or text, or no https address of a domain that the partner proved.
    :raises TooManySolutions: fifty wait or are shown.
    """
    if not may_publish(actor):
        raise NotVisible
    title = _text(title, "title", LONGEST_TITLE)
    description = _text(description, "description", LONGEST_DESCRIPTION)
    chosen = Product.objects.filter(slug=product).first()
    if chosen is None:
        raise Malformed(_("Choose a product."), field="product")
    with tenant_atomic(actor):
        partner = Tenant.objects.select_for_update(no_key=True).get(pk=actor.tenant_id)
        address = _address(url, partner)
        if Solution.objects.filter(tenant=partner, state__in=_LIVE).count() >= MOST:
            raise TooManySolutions
        solution = Solution.objects.create(
            tenant=partner,
            product=chosen,
            partner_name=partner.name,
            title=title,
            description=description,
            url=address,
            sent_at=at,
        )
        _record(actor, solution, "commerce.solution.sent_in", at, url=address, product=chosen.name)
    return solution


def withdraw_solution(*, actor: Actor, key: uuid.UUID, at: datetime) -> None:
    """Take a solution back; it is shown no more. Twice is once.

    :raises NotVisible: none of the actor's organization, or not theirs to publish.
    """
    if not may_publish(actor):
        raise NotVisible
    with tenant_atomic(actor):
        solution = Solution.objects.visible_to(actor).select_for_update().filter(key=key).first()
        if solution is None:
            raise NotVisible
        if solution.state == State.WITHDRAWN:
            return
        Solution.objects.filter(pk=solution.pk).update(state=State.WITHDRAWN, decided_at=at)
        _record(actor, solution, "commerce.solution.withdrawn", at)


def decide_solution(
    *, key: uuid.UUID, is_approved: bool, staff: str, at: datetime, answer: str = ""
) -> Solution:
    """`decide` from the command line: the solution is found under the worker's login.

    :raises NotVisible: there is none. :raises SolutionDecided, Malformed: as `decide`.
    """
    answer = _reason(answer, is_approved)
    with use_login("worker"):
        found = Solution.objects.filter(key=key).values_list("tenant_id", flat=True).first()
    if found is None:
        raise NotVisible
    by = Actor.system(found, label=staff, door="cli")
    return _decide(by, key, is_approved, answer, at)


def decide(*, staff: Actor, solution_id: int, is_approved: bool, at: datetime, answer: str = "") -> Solution:
    """Approve a solution, or decline it with a reason; noted in the partner's trail and in the vendor's.

    :raises NotVisible: there is none, or not of the staff. :raises SolutionDecided: it does not wait.
    :raises Malformed: declined without a reason.
    """
    require_staff(staff, StaffCapability.OPERATE_SOLUTIONS)
    answer = _reason(answer, is_approved)
    with tenant_atomic(staff):
        found = find(SOLUTIONS, solution_id, "", "")
        decided = _decide(acting_in(staff, found.tenant_id), found.key, is_approved, answer, at)
        note_at_home(
            staff,
            _DECIDED[is_approved],
            organization=found.tenant_id,
            at=at,
            target_type="solution",
            target_id=found.key,
            target_label=found.title,
            after={"answer": answer},
        )
    return decided


_DECIDED = {True: "commerce.solution.approved", False: "commerce.solution.declined"}


def _reason(answer: str, is_approved: bool) -> str:
    answer = answer.strip()[:LONGEST_DESCRIPTION]
    if not is_approved and not answer:
        raise Malformed(_("Say why it is declined."), field="answer")
    return answer


def _decide(actor: Actor, key: uuid.UUID, is_approved: bool, answer: str, at: datetime) -> Solution:
    with tenant_atomic(actor):
        solution: Solution = (
            Solution.objects.select_for_update(of=("self",)).select_related("product").get(key=key)
        )
        if solution.state != State.WAITING:
            raise SolutionDecided
        solution.state = State.APPROVED if is_approved else State.DECLINED
        Solution.objects.filter(pk=solution.pk).update(state=solution.state, decided_at=at, answer=answer)
        _record(actor, solution, _DECIDED[is_approved], at, answer=answer)
    return solution


def _text(value: str, field: str, most: int) -> str:
    text = " ".join(value.split())
    if not 0 < len(text) <= most or not text.isprintable():
        raise Malformed(_("Write some words here, and no more than fit."), field=field)
    return text


def _address(url: str, partner: Tenant) -> str:
    """The https address, if it is at a domain that the partner proved to be its own, or below one."""
    refused = Malformed(
        _("Enter an address that begins with https:// and lies at one of your organization's own domains."),
        field="url",
    )
    url = url.strip()
    host = host_of_page(url, refused)
    own = Domain.objects.filter(tenant=partner, verified_at__isnull=False).values_list("name", flat=True)
    if not any(host == name or host.endswith(f".{name}") for name in own):
        raise refused
    return url


def _record(actor: Actor, solution: Solution, code: str, at: datetime, **facts: str) -> None:
    record(
        actor,
        code,
        at=at,
        target_type="solution",
        target_id=solution.key,
        target_label=solution.title,
        after=facts or None,
    )
