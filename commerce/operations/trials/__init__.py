"""Trials: starting one, making it longer once, and deciding that it turns paid (product §3.6).

What becomes of it at its end is the sweep's: `commerce.operations.renewals.trials`. Nothing here moves money; the price
that the person agreed to is on the subscription and is what its first bill says.
"""

from commerce.operations.trials.ending import NotExtendable, extend_trial, extended_end, keep_after_trial
from commerce.operations.trials.rules import WANTED, Choice, TrialOver, TrialUsed, market_of_actor
from commerce.operations.trials.starting import (
    end_of_trial,
    prepare_trial,
    start_prepared,
    start_trial_with_card,
    start_trial_without_card,
)

__all__ = [
    "WANTED",
    "Choice",
    "NotExtendable",
    "TrialOver",
    "TrialUsed",
    "end_of_trial",
    "extend_trial",
    "extended_end",
    "keep_after_trial",
    "market_of_actor",
    "prepare_trial",
    "start_prepared",
    "start_trial_with_card",
    "start_trial_without_card",
]
