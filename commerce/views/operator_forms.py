"""What the forms of the vendor's site have in common."""

from typing import Any

from django import forms
from django.utils.functional import Promise

from config.kit.errors import DomainError

SELECT = {"class": "sk-input"}
TEXT = {"class": "sk-input", "autocomplete": "off", "spellcheck": "false"}


def text(longest: int, **attrs: str) -> forms.TextInput:
    """One line; as long as its field lets it be."""
    return forms.TextInput(TEXT | {"maxlength": str(longest)} | attrs)


def checkbox(label: Promise) -> forms.BooleanField:
    return forms.BooleanField(label=label, required=False)  # type: ignore[arg-type]


def at_its_field(form: forms.Form, refused: DomainError, **fields: Any) -> str:
    """Put a refusal at the field that it is about, and say nothing more; else say it above the form.

    `fields`: the field of refusals that name none, by their code.
    """
    field = getattr(refused, "field", "") or fields.get(refused.code, "")
    if field not in form.fields:
        return str(refused)
    form.add_error(field, str(refused))
    return ""
