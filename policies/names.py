"""Where names of people stand in the policies (product §11; docs/adr/0052)."""

from directory.names import Fate, by, of

PLACES = (
    *by("policies_productpolicy", "changed_by"),
    *by("policies_categorypolicy", "changed_by"),
    *by("policies_offertypepolicy", "changed_by"),
    *by("policies_grouppolicy", "changed_by"),
    *of(Fate.HISTORY, "policies_policychange", "actor_label"),
    *by("policies_datapolicy", "changed_by"),
    *by("policies_policytemplate", "changed_by"),
    *by("policies_permit", "granted_by"),
)
