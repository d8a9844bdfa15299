"""Commands of `seatkeeper` (product §16). Exit codes: see `config.cli.connection.Exit` and docs/cli.md."""

import csv
import json
import sys
from itertools import batched
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import quote

import typer

from config.cli.connection import Connection, Exit, Refused, current, keep
from config.cli.lists import people_of
from config.cli.output import AsJson, complain, money, say, show
from config.cli.requests import requests

PEOPLE_A_CALL = 1_000
POLICY = "policies/AllowSelfServicePurchase"
VALUES = {
    "allow": "Enabled",
    "trials": "OnlyTrialsWithoutPaymentMethod",
    "block": "Disabled",
}

app = typer.Typer(
    no_args_is_help=True,
    help="Purchases, licenses, requests and purchase policies of a Seatkeeper installation.",
    pretty_exceptions_enable=False,
)
policies = typer.Typer(no_args_is_help=True, help="What people of the organization may buy themselves.")
purchases = typer.Typer(no_args_is_help=True, help="Purchases that you see.")
licenses = typer.Typer(no_args_is_help=True, help="Licenses of a purchase.")
app.add_typer(policies, name="policies")
app.add_typer(purchases, name="purchases")
app.add_typer(licenses, name="licenses")
app.add_typer(requests, name="requests")

PurchaseId = Annotated[str, typer.Argument(help="The purchase's id, as `purchases list` shows it.")]


def run() -> NoReturn:
    """The entry point: a refusal is one line on the error stream and a code of its own."""
    try:
        app(prog_name="seatkeeper", standalone_mode=True)
    except Refused as refused:
        complain(refused.text)
        sys.exit(refused.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


@app.command()
def connect(
    address: Annotated[str, typer.Argument(help="Of the installation, such as https://licenses.example")],
    token: Annotated[
        str,
        typer.Option(
            help="A token; better typed when asked, or set as SEATKEEPER_TOKEN, than left in the shell's history.",
            envvar="SEATKEEPER_TOKEN",
            show_envvar=False,
        ),
    ] = "",
) -> None:
    """Remember an installation and a token for it; the token is tried first."""
    address = address.rstrip("/")
    if not address.startswith(("https://", "http://")):
        raise typer.BadParameter("An address begins with https://", param_hint="ADDRESS")
    if not token:
        token = (
            typer.prompt("Token", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
        )
    connection = Connection(address, token.strip())
    try:
        connection.get("purchases/00000000-0000-0000-0000-000000000000")
    except Refused as refused:
        if refused.exit_code not in (Exit.NOT_FOUND, Exit.NOT_ALLOWED):
            raise
    say(f"Connected to {address}. Kept in {keep(connection)}.")


# --- Policies ---------------------------------------------------------------------------------------------

_POLICY_COLUMNS = (("Product", "productName"), ("Id", "productId"), ("Value", "policyValue"))
_OFFER_COLUMNS = (("Offer type", "scopeValue"), ("Id", "scopeId"), ("Value", "policyValue"))


@policies.command("list")
def list_policies(
    offer_types: Annotated[
        bool, typer.Option("--offer-types", help="Third parties' offers instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Every product and what holds for it."""
    scope = "OfferType" if offer_types else "product"
    answer = current().get(f"{POLICY}/products", scope=scope)
    show(answer, as_json=as_json, columns=_OFFER_COLUMNS if offer_types else _POLICY_COLUMNS)


@policies.command("get")
def get_policy(
    product: Annotated[str, typer.Argument(help="A product's current or former id.")], as_json: AsJson = False
) -> None:
    """What holds for one product."""
    answer = current().get(f"{POLICY}/products/{quote(product, safe='')}")
    show(answer, as_json=as_json, columns=_POLICY_COLUMNS)


@policies.command("set")
def set_policy(
    product: Annotated[str, typer.Argument(help="A product's current or former id.")],
    value: Annotated[
        str, typer.Argument(help="allow, trials or block; the API's own values are taken, too.")
    ],
    as_json: AsJson = False,
) -> None:
    """Allow a product, for trials only, or not at all. What was bought goes on."""
    wanted = VALUES.get(value.lower(), value)
    answer = current().put(f"{POLICY}/products/{quote(product, safe='')}", {"policyValue": wanted})
    show(answer, as_json=as_json, columns=_POLICY_COLUMNS)


# --- Purchases --------------------------------------------------------------------------------------------

_PURCHASE_COLUMNS = (
    ("Id", "id"),
    ("Product", "productName"),
    ("Channel", "channel"),
    ("Purchaser", "purchaser"),
    ("State", "state"),
    ("Seats", "quantity"),
    ("Free", "available"),
    ("Price", "price"),
    ("Next date", "nextDate"),
)
_EXPORTED = (
    *("id", "productId", "productName", "channel", "owner", "purchaser", "purchaserEmail", "state"),
    *("paymentFailedAt", "recurringBilling", "quantity", "assigned", "available", "termMonths"),
    *("billingMonths", "currency", "unitPriceMinor", "periodPriceMinor", "termEnd", "nextDate", "createdAt"),
)
Channel = Annotated[
    list[str], typer.Option("--channel", help="central, self-service or trial; again for more.")
]
Status = Annotated[str, typer.Option("--status", help="Such as active, expired, disabled or deleted.")]
Product = Annotated[str, typer.Option("--product", help="A product's id.")]
Words = Annotated[str, typer.Option("--find", help="Words of product, purchaser or address.")]


@purchases.command("list")
def list_purchases(
    channel: Channel = [],  # noqa: B006 - read only
    status: Status = "",
    product: Product = "",
    find: Words = "",
    limit: Annotated[int, typer.Option(help="Stop after so many; 0: all.", min=0)] = 50,
    as_json: AsJson = False,
) -> None:
    """The purchases that you see, by product."""
    found = []
    for item in current().pages("purchases", channel=channel, status=status, product=product, q=find):
        found.append(item)
        if limit and len(found) >= limit:
            break
    if not as_json:
        found = [_for_people(item) for item in found]
    show({"items": found}, as_json=as_json, columns=_PURCHASE_COLUMNS, empty="No purchases.")


@purchases.command("export")
def export_purchases(
    to: Annotated[Path | None, typer.Option("--to", help="A file; else to the screen.")] = None,
    channel: Channel = [],  # noqa: B006 - read only
    status: Status = "",
    product: Product = "",
    find: Words = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON, one purchase a line, in place of CSV.")
    ] = False,
) -> None:
    """Every purchase that you see, as CSV or JSON lines."""
    items = current().pages("purchases", channel=channel, status=status, product=product, q=find)
    if to is None:
        _export(sys.stdout, items, as_json)
        return
    partial = to.with_name(to.name + ".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        count = _export(file, items, as_json)
    partial.replace(to)
    complain(f"{count} purchases written to {to}.")


@purchases.command("cancel")
def cancel_purchase(
    purchase: PurchaseId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    reason: Annotated[str | None, typer.Option(help="Such as not_needed or too_expensive.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what canceling does, ask, and cancel just so."""
    connection = current()
    path = f"purchases/{quote(purchase, safe='')}"
    preview = connection.get(f"{path}/cancellation")
    if not yes:
        typer.echo(_what_happens(preview), err=True)
        if not typer.confirm("Cancel it?", err=True):
            raise Refused("Nothing was changed.", Exit.CONFLICT)
    agreed = {
        name: preview[name] for name in ("ending", "refundMinor", "creditedMinor", "stillMinor", "version")
    }
    answer = connection.post(f"{path}/cancel", agreed | ({"reason": reason} if reason else {}))
    show(answer if as_json else _for_people(answer), as_json=as_json, columns=_PURCHASE_COLUMNS)


@purchases.command("take-over")
def take_over(
    purchase: PurchaseId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the organization the owner, after saying what it pays from then on."""
    connection = current()
    path = f"purchases/{quote(purchase, safe='')}/take-over"
    preview = connection.get(path)
    if not yes:
        typer.echo(_what_it_pays(preview), err=True)
        if not typer.confirm("Take it over?", err=True):
            raise Refused("Nothing was changed.", Exit.CONFLICT)
    answer = connection.post(path, {"quote": preview["quote"]})
    show(answer if as_json else _for_people(answer), as_json=as_json, columns=_PURCHASE_COLUMNS)


def _what_it_pays(preview: dict[str, Any]) -> str:
    price = money(preview["periodPriceMinor"], preview["currency"])
    by = f"on account, {preview['paymentDays']} days" if preview["paysBy"] == "account" else "by its card"
    said = [f"The organization pays {price} a billing period without tax, {by}."]
    said += [
        f"Bill {bill['number']} of {money(bill['totalMinor'], preview['currency'])} moves to it."
        for bill in preview["openBills"]
    ]
    return " ".join([*said, "Nobody loses a license."])


def _what_happens(preview: dict[str, Any]) -> str:
    """The money before the click."""
    currency = preview["currency"]
    first = {
        "at_once": "Access ends at once.",
        "at_term": f"It is not renewed and ends on {preview['termEnd'][:10]}.",
        "before_start": "It never starts.",
    }[preview["ending"]]
    amounts = (
        ("refundMinor", "goes back to the card."),
        ("creditedMinor", "is no longer to be paid."),
        ("owedMinor", "stays to be paid, for the days used."),
        ("stillMinor", "is still charged to the end of the term."),
    )
    said = [f"{money(preview[name], currency)} {what}" for name, what in amounts if preview[name]]
    return " ".join([first, *said])


def _for_people(item: dict[str, Any]) -> dict[str, Any]:
    price = money(item["periodPriceMinor"], item["currency"])
    months = item["billingMonths"]
    return item | {
        "price": f"{price} / {'month' if months == 1 else 'year'}",
        "nextDate": (item["nextDate"] or "")[:10] or None,
    }


def _export(file: Any, items: Any, as_json: bool) -> int:
    count = 0
    writer = csv.writer(file)
    if not as_json:
        writer.writerow(_EXPORTED)
    for count, item in enumerate(items, start=1):  # noqa: B007 - the last one is the number
        if as_json:
            file.write(json.dumps(item, ensure_ascii=False) + "\n")
        else:
            writer.writerow([_inert(item.get(name)) for name in _EXPORTED])
    return count


def _inert(value: Any) -> Any:
    """A cell that no spreadsheet runs."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value


# --- Licenses ---------------------------------------------------------------------------------------------

_OUTCOME_COLUMNS = (("Person", "person"), ("Outcome", "outcome"))
People = Annotated[list[str], typer.Argument(help="E-mail addresses; - reads them from standard input.")]


@licenses.command("assign")
def assign(
    purchase: PurchaseId,
    people: People,
    second: Annotated[
        bool, typer.Option("--second", help="Also to those who have the product through another purchase.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Give each a license. Code 9: some could not have one, the others have."""
    _change(purchase, "assign", {"people": _people(people), "confirmed": second}, as_json)


@licenses.command("unassign")
def unassign(purchase: PurchaseId, people: People, as_json: AsJson = False) -> None:
    """Take each one's license back. Code 9: some had none."""
    _change(purchase, "unassign", {"people": _people(people)}, as_json)


@licenses.command("import")
def import_people(
    purchase: PurchaseId,
    file: Annotated[
        Path,
        typer.Argument(help="CSV with a column of e-mail addresses, or one address a line; up to 100,000."),
    ],
    take_back: Annotated[bool, typer.Option("--take-back", help="Take licenses back instead.")] = False,
    second: Annotated[
        bool, typer.Option("--second", help="Also to those who have the product through another purchase.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Give everybody in a file a license, a thousand people a call. Code 9: some could not have one, the others have.

    Stopped halfway it can be run again: who has a license by then keeps it.
    """
    people = people_of(file)
    connection = current()
    path = f"purchases/{quote(purchase, safe='')}/licenses/{'unassign' if take_back else 'assign'}"
    items: list[dict[str, Any]] = []
    done, available = 0, None
    for batch in batched(people, PEOPLE_A_CALL):
        try:
            answer = connection.post(
                path, {"people": list(batch)} | ({} if take_back else {"confirmed": second})
            )
        except Refused as refused:
            if not items:
                raise
            show({"items": items}, as_json=as_json, columns=_OUTCOME_COLUMNS)
            text = f"{refused.text} The first {len(items)} people were dealt with; run it again for the rest."
            raise Refused(text, refused.exit_code) from refused
        items += answer["items"]
        done, available = done + answer["done"], answer["available"]
    show({"items": items, "done": done, "available": available}, as_json=as_json, columns=_OUTCOME_COLUMNS)
    if done < len(items):
        raise Refused(f"{done} of {len(items)} done.", Exit.PARTLY)


def _people(people: list[str]) -> list[str]:
    if people != ["-"]:
        return people
    found = [line.strip() for line in sys.stdin if line.strip()]
    if not found:
        raise Refused("Standard input names nobody.", Exit.BAD_VALUE)
    return found


def _change(purchase: str, verb: str, body: dict[str, Any], as_json: bool) -> None:
    answer = current().post(f"purchases/{quote(purchase, safe='')}/licenses/{verb}", body)
    show(answer, as_json=as_json, columns=_OUTCOME_COLUMNS)
    if answer["done"] < len(answer["items"]):
        raise Refused(f"{answer['done']} of {len(answer['items'])} done.", Exit.PARTLY)
