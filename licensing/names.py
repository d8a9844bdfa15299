"""Where names of people stand in what is licensed (product §11; docs/adr/0052)."""

from directory.names import Fate, by, of

PLACES = (
    *by("licensing_assignment", "assigned_by", "ended_by"),
    *of(Fate.SOON, "licensing_bulkpiece", "rows"),
    *by("licensing_centralization", "started_by"),
    *by("licensing_grouplicense", "assigned_by", "ended_by"),
    *by("licensing_groupexclusion", "excluded_by"),
    *by("licensing_licenserequest", "forwarded_by", "decided_by"),
    *by("licensing_requestedperson", "decided_by"),
    *by("licensing_waitingplace", "added_by", "ended_by"),
)
