"""Where names and addresses of people stand in what is bought and billed (product §11; docs/adr/0052)."""

from directory.names import Fate, Place, by, of

PLACES = (
    *of(
        *(Fate.BILL, "commerce_billto", "name", "street", "postal_code", "city"),
        *("vat_number", "own_reference", "email"),
    ),
    # The copies that lists sort and search by say what the person's row says.
    Place(
        "commerce_subscription",
        "purchaser_name",
        Fate.FORMER,
        person="purchaser_id",
        also="purchaser_sort = u.sort_name, search_text = t.product_sort || ' ' || u.sort_name",
    ),
    *of(Fate.HISTORY, "commerce_subscriptionevent", "actor_label"),
    # Who had it and who was asked or offered it.
    Place("commerce_subscriptionevent", "facts", Fate.HISTORY, emptied="t.facts - '{from,to}'::text[]"),
    *by("commerce_cancelrequest", "asked_by", "closed_by"),
    *by("commerce_supportcase", "asked_by", "answered_by", "assigned_to"),
    *by("commerce_casemessage", "author"),
    Place("commerce_order", "actor_label", Fate.FORMER, person="actor_user_id"),
)
