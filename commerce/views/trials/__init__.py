"""Trials: starting one in the shop, and what its owner does about its end (product §3.6)."""

from commerce.views.trials.ending import extend, goes_on_to, keep, panel_of
from commerce.views.trials.starting import keep_card, start

__all__ = ["extend", "goes_on_to", "keep", "keep_card", "panel_of", "start"]
