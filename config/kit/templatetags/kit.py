"""Filters and tags that every template may use (registered as built-ins)."""

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime
from django import template
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language

from config.kit import once
from config.kit.money import format_money, tax_label

register = template.Library()


def _locale() -> str:
    return (get_language() or "en").replace("-", "_")


@register.simple_tag
def money(minor: int, currency: str) -> str:
    """`{% money bill.total_minor bill.currency %}`"""
    return format_money(minor, currency)


@register.filter
def day(value: datetime | date | None, zone: str = "UTC") -> str:
    """`3 Dec 2026` in the given zone; an en dash when there is none."""
    if value is None:
        return "\u2013"
    if isinstance(value, datetime):
        value = value.astimezone(ZoneInfo(zone))
    return format_date(value, "d MMM y", locale=_locale())


@register.filter
def last_day(end: datetime, zone: str = "UTC") -> str:
    """The last day of a period that ends at `end`: people read periods with that day included."""
    return day(end - timedelta(microseconds=1), zone)


@register.filter
def moment(value: datetime | None, zone: str = "UTC") -> str:
    """`3 Dec 2026, 14:05` in the given zone; an en dash when there is none."""
    if value is None:
        return "\u2013"
    return format_datetime(value.astimezone(ZoneInfo(zone)), "d MMM y, HH:mm", locale=_locale())


@register.simple_tag
def icon(name: str, css: str = "") -> SafeString:
    """One picture of the sprite, hidden from screen readers: the text beside it says the same."""
    return format_html(
        '<svg class="sk-icon {}" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>',
        css,
        static("icons.svg"),
        name,
    )


@register.simple_tag
def once_field() -> SafeString:
    """The hidden field of a form that `config.kit.once` does once."""
    return format_html('<input type="hidden" name="{}" value="{}">', once.FIELD, once.new_key())


@register.filter
def tax_name(name: str) -> str:
    """What a market calls its tax, in the language in use."""
    return tax_label(name)


@register.filter
def get(mapping: dict[Any, Any], key: Any) -> Any:
    return mapping.get(key)


_TILE_COLOURS = {
    "Power Platform": "sk-amber",
    "Project": "sk-green",
    "Visio": "sk-blue",
    "Windows 365": "sk-blue",
    "Teams": "sk-plum",
    "Dynamics 365": "sk-plum",
    "Microsoft 365": "sk-rose",
    "Viva": "sk-rose",
}


@register.filter
def tile_colour(category: str) -> str:
    """The colour class of a product's category (design §4)."""
    return _TILE_COLOURS.get(category, "sk-rose")


@register.filter
def tile_letters(name: str) -> str:
    """Two letters that tell products of one family apart: `BI`, `B+`, `Ap`, `P3`, `V1`."""
    words = name.replace("Microsoft 365 ", "").replace("Dynamics 365 ", "").split()
    if words[:2] == ["Power", "BI"]:
        return "B+" if "Premium" in words else "BI"
    if words[0] == "Power" and len(words) > 1:
        return words[1][:2] if words[-1] != "RPA" else "RP"
    if words[-1].isdigit() and words[0] in ("Project", "Visio"):
        return words[0][0] + words[-1]
    return words[0][:2]
