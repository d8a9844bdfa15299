"""Commands of `seatkeeper requests`: ask for licenses, see who asks, answer (product §7.5)."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from config.cli.connection import current
from config.cli.output import AsJson, money, show

requests = typer.Typer(no_args_is_help=True, help="Requests for licenses: yours, and those you answer.")

_COLUMNS = (
    ("Id", "id"),
    ("Product", "productName"),
    ("Requester", "requester"),
    ("For", "for"),
    ("Seats", "seats"),
    ("Estimate", "estimate"),
    ("State", "state"),
    ("Asked", "asked"),
    ("Reason", "reason"),
)
RequestId = Annotated[str, typer.Argument(help="The request's id, as `requests list` shows it.")]
Message = Annotated[str, typer.Option("--message", help="For who asked.")]
Only = Annotated[list[str], typer.Option("--only", help="This person alone; again for more.")]


@requests.command("list")
def list_requests(
    which: Annotated[
        str, typer.Option("--show", help="waiting, forwarded, approved, rejected or all.")
    ] = "waiting",
    product: Annotated[str, typer.Option("--product", help="A product's id.")] = "",
    limit: Annotated[int, typer.Option(help="Stop after so many; 0: all.", min=0)] = 50,
    as_json: AsJson = False,
) -> None:
    """The queue, if you answer it; else what you asked and what was asked for you."""
    found = []
    for item in current().pages("requests", show=which, product=product):
        found.append(item)
        if limit and len(found) >= limit:
            break
    rows = found if as_json else [_for_people(item) for item in found]
    show({"items": rows}, as_json=as_json, columns=_COLUMNS, empty="No requests.")


@requests.command("ask")
def ask(
    product: Annotated[str, typer.Argument(help="A product's id.")],
    reason: Annotated[str, typer.Option("--reason", help="What it is for; who decides reads it.")],
    people: Annotated[
        list[str], typer.Option("--for", help="Somebody's address; again for more. Nobody: you.")
    ] = [],  # noqa: B006 - read only
    as_json: AsJson = False,
) -> None:
    """Ask the organization's admins for licenses."""
    body = {"product": product, "reason": reason, "people": people}
    _show(current().post("requests", body), as_json)


@requests.command("approve")
def approve(
    request: RequestId,
    only: Only = [],  # noqa: B006 - read only
    message: Message = "",
    as_json: AsJson = False,
) -> None:
    """Give everybody who waits a free license of the organization's."""
    _answer(request, "approve", as_json, message=message, people=only or None)


@requests.command("reject")
def reject(
    request: RequestId,
    message: Annotated[str, typer.Option("--message", help="Why; who asked reads it.")],
    only: Only = [],  # noqa: B006 - read only
    as_json: AsJson = False,
) -> None:
    """Turn it down and say why."""
    _answer(request, "reject", as_json, message=message, people=only or None)


@requests.command("forward")
def forward(request: RequestId, as_json: AsJson = False) -> None:
    """Pass it on to those who decide about money."""
    _answer(request, "forward", as_json)


@requests.command("approve-spending")
def approve_spending(request: RequestId, message: Message = "", as_json: AsJson = False) -> None:
    """Let who asked buy it by card, once, up to the request's estimate."""
    _answer(request, "approve-spending", as_json, message=message)


@requests.command("allow-product")
def allow_product(request: RequestId, message: Message = "", as_json: AsJson = False) -> None:
    """Allow the product by the purchase policy, so that everybody may buy it."""
    _answer(request, "allow-product", as_json, message=message)


@requests.command("withdraw")
def withdraw(request: RequestId, as_json: AsJson = False) -> None:
    """Take back what you asked."""
    _answer(request, "withdraw", as_json)


def _answer(request: str, verb: str, as_json: bool, **body: Any) -> None:
    _show(current().post(f"requests/{quote(request, safe='')}/{verb}", body), as_json)


def _show(item: dict[str, Any], as_json: bool) -> None:
    show(item if as_json else _for_people(item), as_json=as_json, columns=_COLUMNS)


def _for_people(item: dict[str, Any]) -> dict[str, Any]:
    amount = item["amountMinor"]
    names = [each["name"] for each in item["people"]]
    return item | {
        "for": ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else ""),
        "estimate": None if amount is None else money(amount, item["currency"]),
        "asked": item["askedAt"][:10],
    }
