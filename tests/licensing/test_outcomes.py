"""What the SQL of licensing answers is known wherever it is read: names, words, refusals, the API (ADR 50)."""

import re
from typing import get_args

from licensing.api.entitlements import EntitlementOut
from licensing.api.licenses import OutcomeName
from licensing.models import CentralizedPerson
from licensing.operations import entitlements
from licensing.operations.assignments import Outcome
from licensing.operations.assignments.outcomes import REFUSALS, VERDICTS
from licensing.operations.centralizing.moving import RESULTS
from licensing.queries.centralizing import OUTCOME
from licensing.queries.groups import Why
from licensing.views.groups import WHY
from licensing.views.wording import CENTRALIZED
from tests.licensing.test_functions import TEXTS


def answers(text: str) -> set[str]:
    """The words of a text's CASE expressions and of one answer for one person."""
    return set(re.findall(r"(?:THEN|ELSE|ARRAY\[) ?'(\w+)'", text))


def verdicts(text: str) -> set[str]:
    return set(re.findall(r"verdict := '(\w+)'", text)) | answers(text) & set(VERDICTS)


def test_each_outcome_of_giving_and_taking_has_a_name() -> None:
    history = {"license_given_back", "license_unassigned"}

    assert answers(TEXTS["assign"]) - set(VERDICTS) == Outcome.of_giving()
    assert answers(TEXTS["unassign"]) - set(VERDICTS) - history == set(Outcome) - Outcome.of_giving()


def test_each_outcome_has_its_words_and_what_was_not_done_its_refusal() -> None:
    assert all(str(outcome.label) for outcome in Outcome)
    # One person is not named twice.
    done = {outcome for outcome in Outcome if outcome.is_done}
    assert set(REFUSALS) == set(Outcome) - done - {Outcome.REPEATED}


def test_each_verdict_on_a_call_is_judged_or_a_refusal() -> None:
    assert verdicts(TEXTS["assign"]) == {"judged", *VERDICTS}
    assert verdicts(TEXTS["unassign"]) == {"judged", *VERDICTS} - {"not_assignable"}


def test_the_api_lists_each_outcome_and_a_name_that_several_have() -> None:
    assert set(get_args(OutcomeName.__value__)) == {*Outcome, "ambiguous"}


def test_each_reason_for_a_member_without_a_seat_has_its_words() -> None:
    assert answers(TEXTS["group_members"]) == {"holds", *get_args(Why.__value__)}
    assert set(WHY) == set(get_args(Why.__value__))


def test_each_outcome_of_centralizing_has_its_words() -> None:
    later = {
        CentralizedPerson.Outcome.NO_SEAT,
        CentralizedPerson.Outcome.UNDONE,
        CentralizedPerson.Outcome.KEPT,
    }

    assert answers(OUTCOME) == set(CentralizedPerson.Outcome) - later
    # Each person is asked for once, and confirmed.
    assert set(RESULTS) == Outcome.of_giving() - {Outcome.REPEATED, Outcome.HOLDS_PRODUCT}
    assert set(CENTRALIZED) == set(CentralizedPerson.Outcome)


def test_each_answer_of_the_entitlement_check_is_told_or_refused() -> None:
    refused = {"unauthenticated", "scope_too_low", "not_found"}
    (reasons, _none) = get_args(EntitlementOut.model_fields["reason"].annotation)

    assert verdicts(TEXTS["entitlement"]) == entitlements.ANSWERED | refused
    assert set(get_args(reasons)) == entitlements.ANSWERED - {"entitled"}
