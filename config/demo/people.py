"""The people of the demo (product §17), for the identity provider, the page /demo/ and the demo data.

Pure data, in the words of the capability table and the models; what the people buy is in the demo data.
"""

from dataclasses import dataclass, field
from functools import cached_property
from uuid import NAMESPACE_URL, uuid5


@dataclass(frozen=True)
class Person:
    """One account, at home in the tenant that lists it.

    `roles` are those held at home, `staff_roles` what a person of the vendor works at, `guest_of` the keys of other tenants that invited the account, `source`
    is "cloud" or "on_premises" (synced from there), `status` is "active" or "disabled".
    """

    name: str
    given_name: str
    surname: str
    does: str
    roles: tuple[str, ...] = ()
    staff_roles: tuple[str, ...] = ()
    source: str = "cloud"
    status: str = "active"
    guest_of: tuple[str, ...] = ()
    # What the directory says that the person reads; empty: nothing.
    language: str = ""

    @property
    def full_name(self) -> str:
        return f"{self.given_name} {self.surname}"


@dataclass(frozen=True)
class Tenant:
    """One organization with its only domain, which is its e-mail domain."""

    key: str
    name: str
    domain: str
    kind: str
    country: str
    time_zone: str
    currency: str
    language: str
    people: tuple[Person, ...] = field(repr=False)
    is_managed: bool = True

    @cached_property
    def external_id(self) -> str:
        """The directory's id of the organization, Entra's `tid`; stable from run to run."""
        return str(uuid5(NAMESPACE_URL, f"https://{self.domain}/"))

    def person(self, name: str) -> Person:
        """The person whose mail address begins with `name`.

        :raises KeyError: there is none.
        """
        return {person.name: person for person in self.people}[name]

    def mail(self, person: Person) -> str:
        """The person's mail address."""
        return f"{person.name}@{self.domain}"

    def object_id(self, person: Person) -> str:
        """The directory's id of the account, `sub` and `oid`: opaque, stable, another in no other tenant."""
        return str(uuid5(NAMESPACE_URL, f"mailto:{self.mail(person)}"))


TENANTS = (
    Tenant(
        key="contoso",
        name="Contoso",
        domain="contoso.example",
        kind="commercial",
        country="NL",
        time_zone="Europe/Amsterdam",
        currency="EUR",
        language="en",
        people=(
            Person("gina", "Gina", "de Vries", "global admin", ("global_admin",)),
            Person("greg", "Greg", "Jansen", "global admin", ("global_admin",)),
            Person("bill", "Bill", "Bakker", "billing admin", ("billing_admin",)),
            Person("lisa", "Lisa", "Visser", "license admin", ("license_admin",)),
            Person("uma", "Uma", "Smit", "user admin", ("user_admin",)),
            Person("rhea", "Rhea", "Meijer", "global reader", ("global_reader",)),
            Person("pat", "Pat", "Mulder", "purchaser of Power BI Pro, 10 seats"),
            Person(
                "sam",
                "Sam",
                "de Groot",
                "synced from on-premises, purchaser of Visio Plan 1",
                source="on_premises",
            ),
            Person("mike", "Mike", "Bos", "member"),
            Person("dora", "Dora", "Vos", "disabled, owns Power Apps", status="disabled"),
            Person("erik", "Erik", "Peters", "member who does nothing"),
            Person("daan", "Daan", "Hendriks", "member who does nothing"),
            Person("dirk", "Dirk", "van Dijk", "member who does nothing"),
            Person("diana", "Diana", "Dekker", "member who reads Dutch", language="nl"),
        ),
    ),
    Tenant(
        key="fabrikam",
        name="Fabrikam",
        domain="fabrikam.example",
        kind="commercial",
        country="US",
        time_zone="America/New_York",
        currency="USD",
        language="en",
        people=(
            Person("fiona", "Fiona", "Clark", "global admin", ("global_admin",)),
            Person("frank", "Frank", "Miller", "member, guest of Contoso", guest_of=("contoso",)),
        ),
    ),
    Tenant(
        key="northwind",
        name="Northwind Partners",
        domain="northwind.example",
        kind="commercial",
        country="DE",
        time_zone="Europe/Berlin",
        currency="EUR",
        language="en",
        people=(
            Person("petra", "Petra", "Schmidt", "global admin, partner of Contoso", ("global_admin",)),
            Person("nils", "Nils", "Weber", "member, assigned to no relationship"),
        ),
    ),
    Tenant(
        key="metropolis",
        name="City of Metropolis",
        domain="metropolis.example",
        kind="government",
        country="US",
        time_zone="America/Chicago",
        currency="USD",
        language="en",
        people=(Person("carl", "Carl", "Johnson", "member"),),
    ),
    Tenant(
        key="bellows",
        name="Bellows College",
        domain="bellows.example",
        kind="education",
        country="GB",
        time_zone="Europe/London",
        currency="GBP",
        language="en",
        people=(Person("ellen", "Ellen", "Hughes", "member"),),
    ),
    Tenant(
        key="wingtip",
        name="Wingtip",
        domain="wingtip.example",
        kind="commercial",
        country="IN",
        time_zone="Asia/Kolkata",
        currency="INR",
        language="en",
        people=(Person("indira", "Indira", "Rao", "member"),),
    ),
    Tenant(
        key="litware",
        name="Litware",
        domain="litware.example",
        kind="commercial",
        country="BR",
        time_zone="America/Sao_Paulo",
        currency="BRL",
        language="en",
        people=(Person("bruno", "Bruno", "Almeida", "member"),),
    ),
    Tenant(
        key="kivu",
        name="Kivu Trading",
        domain="kivu.example",
        kind="commercial",
        country="CD",
        time_zone="Africa/Lubumbashi",
        currency="USD",
        language="en",
        people=(Person("kito", "Kito", "Mbala", "member"),),
    ),
    Tenant(
        key="adatum",
        name="Adatum",
        domain="adatum.example",
        kind="commercial",
        country="NL",
        time_zone="Europe/Amsterdam",
        currency="EUR",
        language="en",
        is_managed=False,
        people=(Person("ann", "Ann", "Becker", "member of an unmanaged tenant"),),
    ),
    Tenant(
        key="vendor",
        name="Seatkeeper",
        domain="seatkeeper.example",
        kind="vendor",
        country="NL",
        time_zone="Europe/Amsterdam",
        currency="EUR",
        language="en",
        people=(
            Person("olga", "Olga", "Kuiper", "vendor staff, catalogue", staff_roles=("staff_catalogue",)),
            Person("sven", "Sven", "Larsen", "vendor staff, support", staff_roles=("staff_support",)),
            Person("oscar", "Oscar", "Blom", "vendor staff, superuser", staff_roles=("staff_superuser",)),
        ),
    ),
)


def tenant(key: str) -> Tenant:
    """The tenant of that key.

    :raises KeyError: there is none.
    """
    return {each.key: each for each in TENANTS}[key]


def find(mail: str) -> tuple[Tenant, Person] | None:
    """The account with that mail address (case does not matter) and its home, None when there is none."""
    name, _, domain = mail.strip().lower().partition("@")
    for each in TENANTS:
        if each.domain == domain:
            for person in each.people:
                if person.name == name:
                    return each, person
    return None
