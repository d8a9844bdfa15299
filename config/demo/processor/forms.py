"""Form parameters: Stripe's bracket notation, and the checks that each operation declares."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from .errors import Json, malformed

type Kind = Callable[[str, Any], Any]
type Spec = dict[str, Kind]

CURRENCIES = frozenset(
    [
        "aed",
        "afn",
        "all",
        "amd",
        "ang",
        "aoa",
        "ars",
        "aud",
        "awg",
        "azn",
        "bam",
        "bbd",
        "bdt",
        "bgn",
        "bhd",
        "bif",
        "bmd",
        "bnd",
        "bob",
        "brl",
        "bsd",
        "bwp",
        "byn",
        "bzd",
        "cad",
        "cdf",
        "chf",
        "clp",
        "cny",
        "cop",
        "crc",
        "cve",
        "czk",
        "djf",
        "dkk",
        "dop",
        "dzd",
        "egp",
        "etb",
        "eur",
        "fjd",
        "fkp",
        "gbp",
        "gel",
        "gip",
        "gmd",
        "gnf",
        "gtq",
        "gyd",
        "hkd",
        "hnl",
        "htg",
        "huf",
        "idr",
        "ils",
        "inr",
        "isk",
        "jmd",
        "jod",
        "jpy",
        "kes",
        "kgs",
        "khr",
        "kmf",
        "krw",
        "kwd",
        "kyd",
        "kzt",
        "lak",
        "lbp",
        "lkr",
        "lrd",
        "lsl",
        "mad",
        "mdl",
        "mga",
        "mkd",
        "mmk",
        "mnt",
        "mop",
        "mur",
        "mvr",
        "mwk",
        "mxn",
        "myr",
        "mzn",
        "nad",
        "ngn",
        "nio",
        "nok",
        "npr",
        "nzd",
        "omr",
        "pab",
        "pen",
        "pgk",
        "php",
        "pkr",
        "pln",
        "pyg",
        "qar",
        "ron",
        "rsd",
        "rub",
        "rwf",
        "sar",
        "sbd",
        "scr",
        "sek",
        "sgd",
        "shp",
        "sle",
        "sos",
        "srd",
        "std",
        "szl",
        "thb",
        "tjs",
        "tnd",
        "top",
        "try",
        "ttd",
        "twd",
        "tzs",
        "uah",
        "ugx",
        "usd",
        "uyu",
        "uzs",
        "vnd",
        "vuv",
        "wst",
        "xaf",
        "xcd",
        "xof",
        "xpf",
        "yer",
        "zar",
        "zmw",
    ]
)
_KEY_PART = re.compile(r"\[([^\]]*)\]")
_SECRET_PARTS = frozenset({"number", "cvc"})


def parse(encoded: str) -> Json:
    """The nested parameters of a form body or a query string; every leaf is a string."""
    tree: Json = {}
    for key, value in parse_qsl(encoded, keep_blank_values=True, max_num_fields=1000):
        head, bracket, rest = key.partition("[")
        parts = [head, *_KEY_PART.findall(bracket + rest)]
        node = tree
        for part in parts[:-1]:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise malformed(f"Invalid hash: {key}", param=head)
        last = parts[-1]
        node[last if last or len(parts) == 1 else str(len(node))] = value
    return {name: _with_lists(value) for name, value in tree.items()}


def _with_lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(key.isdigit() for key in value):
        return [_with_lists(value[key]) for key in sorted(value, key=int)]
    return {key: _with_lists(item) for key, item in value.items()}


def without_card_data(params: Any) -> Any:
    """The same parameters with card numbers and security codes blanked, fit to be kept."""
    if isinstance(params, list):
        return [without_card_data(item) for item in params]
    if not isinstance(params, dict):
        return params
    return {
        key: "[card data]" if key in _SECRET_PARTS and isinstance(value, str) else without_card_data(value)
        for key, value in params.items()
    }


def check(params: Json, spec: Spec, *, required: tuple[str, ...] = (), within: str = "") -> Json:
    """The parameters with their types, or a refusal that names the first bad one."""
    checked = {}
    for name, value in params.items():
        full = f"{within}[{name}]" if within else name
        kind = spec.get(name)
        if kind is None:
            raise malformed(f"Received unknown parameter: {full}", code="parameter_unknown", param=full)
        checked[name] = kind(full, value)
    for name in required:
        if name not in checked:
            full = f"{within}[{name}]" if within else name
            raise malformed(f"Missing required param: {full}.", code="parameter_missing", param=full)
    return checked


def string(name: str, value: Any) -> str:
    """Text that cannot be emptied, at most 5,000 characters."""
    if not isinstance(value, str):
        raise malformed(f"Invalid string: {value}", code="parameter_invalid_string", param=name)
    if not value:
        raise malformed(
            f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset a "
            f"parameter; however '{name}' cannot be unset. You should remove '{name}' from your request or "
            "supply a non-empty value.",
            code="parameter_invalid_empty",
            param=name,
        )
    if len(value) > 5000:
        raise malformed(
            f"Invalid string: {value[:10]}...{value[-10:]}; must be at most 5000 characters",
            code="parameter_invalid_string",
            param=name,
        )
    return value


def text(name: str, value: Any) -> str | None:
    """Text that an empty string unsets."""
    return string(name, value) if value != "" else None


def short_text(limit: int) -> Kind:
    def kind(name: str, value: Any) -> str | None:
        checked = text(name, value)
        if checked is not None and len(checked) > limit:
            raise malformed(
                f"Invalid string: {checked}; must be at most {limit} characters",
                code="parameter_invalid_string",
                param=name,
            )
        return checked

    return kind


def integer(name: str, value: Any) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"-?[0-9]{1,15}", value):
        raise malformed(f"Invalid integer: {value}", code="parameter_invalid_integer", param=name)
    return int(value)


def boolean(name: str, value: Any) -> bool:
    if value not in ("true", "false"):
        raise malformed(f"Invalid boolean: {value}", code="parameter_invalid_boolean", param=name)
    return bool(value == "true")


def off_session(name: str, value: Any) -> bool:
    """A boolean, or the older `one_off` and `recurring`."""
    return True if value in ("one_off", "recurring") else boolean(name, value)


def currency(name: str, value: Any) -> str:
    code = string(name, value).lower()
    if code not in CURRENCIES:
        raise malformed(
            f"Invalid currency: {code}. Stripe currently supports these currencies: "
            + ", ".join(sorted(CURRENCIES)),
            param=name,
        )
    return code


def choice(*options: str) -> Kind:
    def kind(name: str, value: Any) -> str:
        if value not in options:
            listed = options[0] if len(options) == 1 else ", ".join(options[:-1]) + f", or {options[-1]}"
            raise malformed(f"Invalid {name}: must be one of {listed}", param=name)
        return str(value)

    return kind


def choice_or_unset(*options: str) -> Kind:
    inner = choice(*options)
    return lambda name, value: None if value == "" else inner(name, value)


def array(item: Kind) -> Kind:
    def kind(name: str, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise malformed(f"Invalid array: {value}", code="parameter_invalid_array", param=name)
        return [item(f"{name}[{index}]", element) for index, element in enumerate(value)]

    return kind


def nested(spec: Spec, *, required: tuple[str, ...] = ()) -> Kind:
    def kind(name: str, value: Any) -> Json:
        if not isinstance(value, dict):
            raise malformed("Invalid object", param=name)
        return check(value, spec, required=required, within=name)

    return kind


def metadata(name: str, value: Any) -> dict[str, str]:
    """The changes to an object's metadata; an empty value removes a key, "" as a whole all of them."""
    if value == "":
        return {"": ""}
    if not isinstance(value, dict):
        raise malformed("Invalid object", param=name)
    if len(value) > 50:
        raise malformed("Metadata can have at most 50 keys", param=name)
    for key, item in value.items():
        if not isinstance(item, str):
            raise malformed("Metadata values must be strings", param=f"{name}[{key}]")
        if len(key) > 40 or len(item) > 500:
            raise malformed(
                "Metadata keys are at most 40 and values at most 500 characters", param=f"{name}[{key}]"
            )
    return value


def merged_metadata(current: dict[str, str], changes: dict[str, str] | None) -> dict[str, str]:
    """`current` after `changes`, as `metadata()` returns them."""
    if changes is None:
        return current
    if changes == {"": ""}:
        return {}
    return {key: value for key, value in (current | changes).items() if value != ""}


def time_range(name: str, value: Any) -> dict[str, int]:
    """Bounds on a time: an exact second, or any of gt, gte, lt, lte; Unix seconds."""
    if isinstance(value, str):
        exact = integer(name, value)
        return {"gte": exact, "lte": exact}
    if not isinstance(value, dict):
        raise malformed("Invalid object", param=name)
    return check(value, dict.fromkeys(("gt", "gte", "lt", "lte"), integer), within=name)


ADDRESS: Spec = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"), text)
BILLING_DETAILS: Spec = {
    "name": text,
    "email": text,
    "phone": text,
    "tax_id": text,
    "address": nested(ADDRESS),
}
SHIPPING: Spec = {
    "name": string,
    "phone": text,
    "carrier": text,
    "tracking_number": text,
    "address": nested(ADDRESS),
}
CARD_DATA: Spec = {
    "number": string,
    "exp_month": integer,
    "exp_year": integer,
    "cvc": string,
    "token": string,
}
PAYMENT_METHOD_DATA: Spec = {
    "type": choice("card"),
    "card": nested(CARD_DATA),
    "billing_details": nested(BILLING_DETAILS),
    "allow_redisplay": choice("always", "limited", "unspecified"),
    "metadata": metadata,
}
PAYMENT_METHOD_OPTIONS: Spec = {
    "card": nested(
        {
            "request_three_d_secure": choice("any", "automatic", "challenge"),
            "setup_future_usage": choice_or_unset("none", "off_session", "on_session"),
        }
    )
}
AUTOMATIC_PAYMENT_METHODS: Spec = {"enabled": boolean, "allow_redirects": choice("always", "never")}
MANDATE_DATA: Spec = {
    "customer_acceptance": nested(
        {
            "type": choice("online", "offline"),
            "accepted_at": integer,
            "online": nested({"ip_address": string, "user_agent": string}),
            "offline": nested({}),
        }
    )
}
