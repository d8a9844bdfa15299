"""The demo's accounts as the page /demo/ shows them: who they are and what they may do, in half a sentence."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from config.demo.people import TENANTS, Person, Tenant
from config.demo.staff import app_secret
from config.kit.clock import real_now
from config.kit.errors import Text
from directory.factors import code_at


class Words(NamedTuple):
    """What somebody is, and what that allows."""

    role: Text
    may: Text


@dataclass(frozen=True, slots=True)
class Account:
    """One person."""

    home: Tenant
    person: Person
    role: Text
    may: Text

    @property
    def mail(self) -> str:
        return self.home.mail(self.person)

    @property
    def initials(self) -> str:
        return self.person.given_name[0] + self.person.surname.split()[-1][0]

    @property
    def app_secret(self) -> str:
        """What an authenticator app is given for the second factor; empty for who needs none."""
        return app_secret(self.mail, key=settings.SECRET_KEY) if self.person.staff_roles else ""

    @property
    def code_now(self) -> str:
        """What such an app shows at this moment."""
        return code_at(self.app_secret, real_now()) if self.person.staff_roles else ""


@dataclass(frozen=True, slots=True)
class Part:
    """People of one kind; the title is empty where there is only one kind."""

    title: Text
    accounts: tuple[Account, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """One organization, or several of which the same is to be said."""

    title: Text
    about: Text
    parts: tuple[Part, ...]
    names_homes: bool = False


_MEMBER = Words(_("Member"), _("may buy by card; fills the lists of people"))
_WORDS: dict[str, Words] = {
    "pat": Words(_("Purchaser"), _("sees the own purchases only, and gives their licenses to colleagues")),
    "sam": Words(
        _("Purchaser"),
        _("kept in an on-premises directory, and treated like everybody else; bought one license"),
    ),
    "dora": Words(_("Purchaser, disabled"), _("cannot sign in; others still hold licenses that she bought")),
    "gina": Words(_("Global admin"), _("sees every purchase; manages and assigns the central ones")),
    "greg": Words(_("Global admin"), _("the same as Gina, and gets the same notices")),
    "bill": Words(_("Billing admin"), _("sees every purchase; manages the central ones, assigns none")),
    "lisa": Words(_("License admin"), _("sees licenses without prices; assigns the central ones")),
    "uma": Words(_("User admin"), _("sees licenses without prices; assigns the central ones")),
    "rhea": Words(_("Global reader"), _("sees every purchase and changes nothing")),
    "mike": Words(_("Member"), _("may buy by card; opens the apps that he holds a license of")),
    "erik": _MEMBER,
    "daan": _MEMBER,
    "dirk": _MEMBER,
    "diana": _MEMBER,
    "fiona": Words(_("Global admin"), _("sees her own organization and nothing of Contoso")),
    "frank": Words(
        _("Member, guest of Contoso"),
        _("buys for Fabrikam; changes to Contoso in the account menu, and may not buy there"),
    ),
    "petra": Words(
        _("Global admin, partner"), _("acts for Contoso under a banner, as billing and license admin")
    ),
    "nils": Words(_("Member"), _("may not act for Contoso: the relationship is not assigned to him")),
    "carl": Words(_("Member"), _("may not buy: a government body")),
    "ellen": Words(_("Member"), _("may not buy: a school")),
    "indira": Words(_("Member"), _("may not buy: no self-service in India")),
    "bruno": Words(_("Member"), _("may buy, but not Project or Visio: not in Brazil")),
    "kito": Words(
        _("Member"), _("may buy, but not Project or Visio: not in the Democratic Republic of the Congo")
    ),
    "ann": Words(_("Member"), _("cannot sign in: nobody manages Adatum here. Leads to the e-mail page")),
    "olga": Words(_("Staff, catalogue"), _("decides what is sold")),
    "sven": Words(_("Staff, support"), _("answers support cases")),
    "oscar": Words(_("Staff, superuser"), _("sets up organizations, suspends them, pauses billing")),
}
_BY_NAME = {person.name: (home, person) for home in TENANTS for person in home.people}


def cards() -> Iterator[Card]:
    """Every account of the demo, by organization and role."""
    yield Card(
        _("Contoso"),
        _("A company in the Netherlands. People buy by card beside what the organization buys centrally."),
        (
            _part(_("Purchasers"), "pat", "sam", "dora"),
            _part(_("Admins"), "gina", "greg", "bill", "lisa", "uma", "rhea"),
            _part(_("Members"), "mike", "erik", "daan", "dirk", "diana"),
        ),
    )
    yield Card(
        _("Fabrikam"),
        _("Another company, in the United States, behind a wall."),
        (_part("", "fiona", "frank"),),
    )
    yield Card(
        _("Northwind Partners"),
        _("A partner in Germany to whom Contoso delegated its administration."),
        (_part("", "petra", "nils"),),
    )
    yield Card(
        _("Who may not buy, and why"),
        _("Organizations of another kind or in another market."),
        (_part("", "carl", "ellen", "indira", "bruno", "kito", "ann"),),
        names_homes=True,
    )
    yield Card(
        _("The vendor"),
        _(
            "The staff work in a site of their own, which asks for a second factor: a code of an authenticator app."
        ),
        (_part("", "olga", "sven", "oscar"),),
    )


def _part(title: Text, *names: str) -> Part:
    return Part(title, tuple(Account(*_BY_NAME[name], *_WORDS[name]) for name in names))
