"""The vendor's site as somebody of support works in it for a morning (product §11, §16; docs/operator.md)."""

from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from commerce.models import Subscription, SupportCase
from commerce.operations import cases
from config.kit.clock import now, real_now
from config.kit.tenancy import tenant_atomic
from directory import factors
from directory.models import Tenant, User
from directory.operations import second_factor
from directory.operations.people import disable_user
from tests.browser.walking import Walk, buy, now_of, pass_by
from tests.commerce.talking import again, ask
from tests.factories import actor_of, make_staff, make_tenant, make_user, staff_actor_of
from tests.operator.work import make_work
from tests.processor import refunds

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

both = pytest.mark.parametrize("look", ["desktop", "phone"])
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@pytest.fixture
def sven() -> User:
    """Works at support, and has an authenticator app since yesterday."""
    user = make_staff(make_tenant(name="The vendor", kind="vendor"), "staff_support", name="Sven Larsen")
    then = real_now() - timedelta(days=1)
    second_factor.set_up_app(
        actor=staff_actor_of(user),
        secret=SECRET,
        code=factors.code_at(SECRET, then),
        has_shown=False,
        at=then,
        real_at=then,
    )
    return user


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso", domain="contoso.test")


@pytest.fixture
def parked(contoso: Tenant, processor: str) -> Subscription:
    """A purchase that the sweep could not renew."""
    bought = buy(make_user(contoso, name="Pat Peters"), quantity=5, at=now() - timedelta(days=3))
    with tenant_atomic(contoso.pk):
        rows = Subscription.objects.filter(pk=bought.pk)
        rows.update(parked_at=now(), parked_reason="There is no price for its plan in market NL.")
    return bought


@pytest.fixture
def asked(contoso: Tenant, processor: str) -> SupportCase:
    """Gina asks support to cancel what Dora, who left, bought three days ago."""
    at = now()
    gina = make_user(contoso, name="Gina Meyer", roles=("global_admin",))
    dora = make_user(contoso, name="Dora Visser")
    bought = buy(dora, quantity=3, at=at - timedelta(days=3))
    disable_user(actor=actor_of(gina, at=at), user_id=dora.pk, at=at)
    return cases.ask_to_cancel(actor=actor_of(gina, at=at), key=bought.key, message="Dora left.", at=at)


def look_at(page: Page, title: str) -> None:
    page.get_by_role("listitem").filter(has_text=title).get_by_role("link").click()


def test_a_morning_at_support(walk: Walk, sven: User, parked: Subscription, asked: SupportCase) -> None:
    page = walk(sven, "phone", "/operator/")
    expect(page.get_by_role("heading", name="Show your second factor")).to_be_visible()
    page.get_by_label("Code of your app").fill(factors.code_at(SECRET, real_now()))
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", name="What needs a look")).to_be_visible()
    pass_by(page, "operator start")

    look_at(page, "Purchases that could not be renewed")
    row = page.get_by_role("row").filter(has_text="Contoso")
    expect(row).to_contain_text("There is no price for its plan in market NL.")
    pass_by(page, "operator purchases")
    row.get_by_role("button", name="Try again").click()
    expect(page.get_by_text("Power BI Pro of Contoso goes on with the next sweep")).to_be_visible()
    expect(page.get_by_text("Nothing waits here")).to_be_visible()
    pass_by(page, "operator purchases done")
    assert now_of(parked).parked_at is None

    page.goto("/operator/")
    look_at(page, "Organizations ask support for something")
    page.get_by_role("link", name="Contoso", exact=True).click()
    expect(page.get_by_text("Access ends at once")).to_be_visible()
    pass_by(page, "operator case")
    page.get_by_label("Your answer").fill("Canceled, as you asked.")
    page.get_by_role("button", name="Cancel now, refund €").click()

    expect(page.get_by_text("The admins of Contoso get a mail with what was done.")).to_be_visible()
    expect(page.get_by_text("Carried out")).to_be_visible()
    pass_by(page, "operator case done")
    ended = now_of(Subscription(pk=asked.subscription_id))
    assert (ended.state, len(refunds())) == ("disabled", 1)
    page.goto("/operator/")
    expect(page.get_by_text("Organizations ask support for something")).to_have_count(0)


@both
def test_support_answers_a_question(
    walk: Walk, sven: User, contoso: Tenant, processor: str, look: str
) -> None:
    pat = make_user(contoso, name="Pat Peters")
    case = ask(pat, buy(pat, quantity=5, at=now() - timedelta(days=3)), at=now() - timedelta(hours=2))
    page = walk(sven, look, "/operator/cases/", with_factor=True)
    expect(page.get_by_role("row").filter(has_text="Report is gone")).to_contain_text("2\u00a0hours")
    pass_by(page, "operator cases")

    page.get_by_role("link", name="Contoso", exact=True).click()
    page.get_by_role("button", name="Take it on").click()
    expect(page.get_by_text("The case is yours.")).to_be_visible()
    page.get_by_label("Your answer").fill("Export it once more.\nThen it is there.")
    page.get_by_label("It is answered").check()
    pass_by(page, "operator talk")
    page.get_by_role("button", name="Send the answer").click()

    expect(page.get_by_text("Sent to the customer, by mail as well.")).to_be_visible()
    pass_by(page, "operator talk answered")
    assert again(case).state == "answered"


@both
def test_every_list_reads_well_with_rows_and_without(walk: Walk, contoso: Tenant, look: str) -> None:
    superuser = make_staff(make_tenant(name="The vendor", kind="vendor"), "staff_superuser")
    page = walk(superuser, look, "/operator/", with_factor=True)
    lists = [
        *(f"work/{name}/" for name in ("purchases", "charges", "refunds", "events", "mails", "jobs")),
        *("cases/", "solutions/", "agreements/"),
    ]
    for address in lists:
        page.goto(f"/operator/{address}")
        expect(page.get_by_text("None yet" if "agree" in address else "Nothing waits here")).to_be_visible()
    pass_by(page, "operator empty")

    make_work(contoso)
    for address in lists:
        page.goto(f"/operator/{address}?state=handled" if "events" in address else f"/operator/{address}")
        expect(page.get_by_role("table")).to_contain_text("Contoso")
        for fold in page.get_by_role("table").locator("summary").all():
            fold.click()
        pass_by(page, f"operator {address.strip('/').replace('/', ' ')}")
    page.get_by_role("link", name="Contoso", exact=True).click()
    expect(page.get_by_role("heading", name="Agree on a price")).to_be_visible()
    pass_by(page, "operator agreement")
    page.goto("/operator/agreements/new/")
    pass_by(page, "operator agreement new")
