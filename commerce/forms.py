"""Parsing what people type at checkout. Rules about money and dates live in the operation."""

import re
from collections.abc import Iterable
from typing import Any

from babel import Locale
from django import forms
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from commerce.models import Plan
from commerce.vat import LENGTH as VAT_LENGTH
from commerce.vat import parse_vat_number
from config.kit.errors import Malformed

_DIGITS = re.compile(r"[0-9]{1,6}")
_BREAKS = re.compile(r"[\r\n\t\v\f\u2028\u2029]+")

# What babel lists beside countries: unions, test codes, parts that bill under their country's code.
_NO_COUNTRIES = frozenset(
    ["AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "HM", "IC", "QO", "TA", "UN", "XA", "XB", "XK", "ZZ"]
)


def countries() -> list[tuple[str, str]]:
    """Code and name of every country, by name in the language in use."""
    territories = Locale.parse((get_language() or "en").replace("-", "_")).territories
    named = [
        (code, str(name))
        for code, name in territories.items()
        if len(code) == 2 and code.isalpha() and code not in _NO_COUNTRIES
    ]
    return sorted(named, key=lambda country: country[1])


class WholeNumberField(forms.CharField):
    """Plain digits 0 to 9: no sign, exponent, separator or other script's digits."""

    def clean(self, value: Any) -> int:
        text = super().clean(value)
        if not _DIGITS.fullmatch(text):
            raise forms.ValidationError(_("Enter a whole number, such as 2."), code="invalid")
        return int(text)


class LineField(forms.CharField):
    """One line of text; breaks and tabs, which a mail's head could not hold, become spaces."""

    def to_python(self, value: Any) -> str:
        text = super().to_python(value)
        return _BREAKS.sub(" ", text).strip() if isinstance(text, str) else ""


def _input(autocomplete: str = "off", **attrs: str) -> forms.TextInput:
    return forms.TextInput({"class": "sk-input sk-input--lg", "autocomplete": autocomplete, **attrs})


class ChoiceForm(forms.Form):
    """What is bought: plan and number of seats."""

    quantity = WholeNumberField(
        max_length=20,
        widget=forms.TextInput({"class": "sk-input", "inputmode": "numeric", "autocomplete": "off"}),
    )
    plan = forms.ChoiceField()
    takes_first_license = forms.BooleanField(required=False)

    def __init__(self, *args: Any, plans: Iterable[Plan], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.plans = {plan.code: plan for plan in plans}
        field = self.fields["plan"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(code, plan.label) for code, plan in self.plans.items()]

    def clean_plan(self) -> Plan:
        return self.plans[self.cleaned_data["plan"]]


class BillingForm(forms.Form):
    """Whom a bill is made out to."""

    name = LineField(max_length=200, widget=_input("billing name"))
    street = LineField(max_length=200, widget=_input("billing street-address"))
    postal_code = LineField(max_length=20, required=False, widget=_input("billing postal-code"))
    city = LineField(max_length=100, widget=_input("billing address-level2"))
    country = forms.ChoiceField(
        choices=countries,
        widget=forms.Select({"class": "sk-input sk-input--lg", "autocomplete": "billing country"}),
    )
    vat_number = LineField(max_length=VAT_LENGTH + 10, required=False, widget=_input())
    own_reference = LineField(max_length=60, required=False, widget=_input())

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if "vat_number" in cleaned and "country" in cleaned:
            try:
                number = parse_vat_number(cleaned["vat_number"], country=cleaned["country"])
            except Malformed as error:
                self.add_error("vat_number", str(error))
            else:
                cleaned["vat_number"] = number.value if number else ""
        return cleaned


class CheckoutForm(ChoiceForm, BillingForm):
    """Everything that is needed to pay, but the card."""

    agrees_to_terms = forms.BooleanField(required=False)
    agrees_to_data = forms.BooleanField(required=False)
    seen_total = forms.CharField(required=False, max_length=20)
    confirmation_token = forms.CharField(required=False, max_length=80)

    def clean_seen_total(self) -> int | None:
        """Only compared with our own total; anything that is no number is a total that nobody saw."""
        text = self.cleaned_data["seen_total"]
        return int(text) if text.isascii() and text.isdigit() else None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        for box in ("agrees_to_terms", "agrees_to_data"):
            if not cleaned.get(box):
                self.add_error(box, _("Tick this box to go on. Nothing was charged."))
        return cleaned


class TrialForm(ChoiceForm, BillingForm):
    """Starting a trial. Without a card nothing is asked but how many, and consent."""

    card = forms.CharField(required=False, max_length=18)
    agrees = forms.BooleanField(required=False)
    seen_total = forms.CharField(required=False, max_length=20)
    intent = forms.UUIDField(required=False)
    confirmation_token = forms.CharField(required=False, max_length=80)

    def __init__(self, *args: Any, with_card: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not with_card:
            for name in BillingForm.base_fields:
                self.fields[name].required = False

    def clean_seen_total(self) -> int | None:
        """Only compared with our own total; anything that is no number is a total that nobody saw."""
        text = self.cleaned_data["seen_total"]
        return int(text) if text.isascii() and text.isdigit() else None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if not cleaned.get("agrees"):
            self.add_error("agrees", _("Tick this box to go on. Nothing was charged."))
        return cleaned


class KeepTrialForm(TrialForm):
    """Letting a trial turn paid: its number of licenses stays as it is."""

    quantity = None  # type: ignore[assignment]
    version = WholeNumberField(max_length=9)


class TakeOverForm(BillingForm):
    """Accepting a colleague's purchase: who pays from now on, and with which card."""

    card = forms.CharField(required=False, max_length=18)
    version = WholeNumberField(max_length=9)
    agrees = forms.BooleanField(required=False)

    def clean_card(self) -> int | None:
        text = self.cleaned_data["card"]
        return int(text) if text.isascii() and text.isdigit() else None
