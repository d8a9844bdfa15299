"""The pages under /demo/ (product §16, §17): accounts, clock, mail, test cards."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from django.core.cache import cache
from django.core.mail import EmailMultiAlternatives, get_connection
from django.test import Client
from kombu.exceptions import OperationalError

from config.demo import accounts, mailbox, walk
from config.demo.people import TENANTS
from config.demo.processor.cards import all_cards
from config.demo.staff import app_secret
from config.demo.tasks import walk_days
from config.kit import clock
from config.kit.clock import real_now
from config.kit.tenancy import tenant_atomic
from directory.factors import code_at
from directory.models import User
from directory.sessions import HOME, PENDING, USER
from tests.demo import addresses  # before any test sets DEMO: what `config.urls` holds hangs on it
from tests.directory.test_sign_in import come_back, organization
from tests.factories import client_of, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
PATHS = ("", "clock/", "mail/", "cards/")


@pytest.fixture(autouse=True)
def demo(settings, tmp_path):
    settings.DEMO = True
    settings.ROOT_URLCONF = addresses.__name__
    settings.CLOCK_FILE = str(tmp_path / "clock.json")
    settings.EMAIL_FILE_PATH = str(tmp_path / "mail")
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def asked(monkeypatch):
    """The walks that a worker was asked for: days and token."""
    calls = []
    monkeypatch.setattr(walk_days, "apply_async", lambda args, **_: calls.append(args))
    return calls


def write_mail(*subjects, html="<html><head></head><body><a href='/'>Hello</a></body></html>"):
    """Mails as the outbox writes them, all into one file."""
    connection = get_connection("django.core.mail.backends.filebased.EmailBackend")
    connection.open()
    for subject in subjects:
        mail = EmailMultiAlternatives(
            subject,
            f"{subject} in plain <b>words</b>",
            "from@seatkeeper.example",
            ["pat@contoso.example"],
            headers={"Date": format_datetime(NOON)},
        )
        if html:
            mail.attach_alternative(html, "text/html")
        connection.send_messages([mail])
    connection.close()


@pytest.mark.parametrize("path", PATHS)
def test_is_not_there_outside_demo_mode(settings, path):
    settings.ROOT_URLCONF = "config.urls"
    settings.DEMO = False

    assert Client().get(f"/demo/{path}").status_code == 404


@pytest.mark.parametrize("path", PATHS)
def test_is_there_for_anybody_in_demo_mode(path):
    member = client_of(make_user(make_tenant()))

    assert Client().get(f"/demo/{path}").status_code == 200
    assert member.get(f"/demo/{path}").status_code == 200


def test_every_page_links_to_it():
    assert '<a class="sk-push" href="/demo/">' in Client().get("/products/").content.decode()


def test_lists_every_account_once_each_with_its_button():
    mails = [home.mail(person) for home in TENANTS for person in home.people]
    listed = [account.mail for card in accounts.cards() for part in card.parts for account in part.accounts]

    page = Client().get("/demo/").content.decode()

    assert sorted(listed) == sorted(mails)
    for mail in mails:
        assert page.count(f"<small>{mail}</small>") == 1
        assert f'name="mail" value="{mail}"' in page
    secret = app_secret("olga@seatkeeper.example", key=settings.SECRET_KEY)
    assert f">{secret}<" in page
    # The code of this half minute, or of the one in which the page was made.
    shown = {code_at(secret, real_now() - timedelta(seconds=back)) for back in (0, 30)}
    assert any(f"<b>{code}</b>" in page for code in shown)


def test_a_button_signs_in_through_the_persons_identity_provider(identity_provider):
    organization()
    browser = Client()

    page = browser.post("/demo/sign-in/", {"mail": "gina@contoso.example"})
    (address,) = {part.split('"')[0] for part in page.content.decode().split("url=")[1:]}
    to_provider = browser.get(address)["Location"]
    come_back(browser, to_provider)

    assert to_provider.startswith(f"{identity_provider['contoso']}/")
    assert parse_qs(urlsplit(to_provider).query)["login_hint"] == ["gina@contoso.example"]
    with tenant_atomic(browser.session[HOME]):
        assert User.objects.get(pk=browser.session[USER]).email == "gina@contoso.example"


def test_a_button_signs_out_whoever_is_signed_in():
    organization()
    browser = client_of(make_user(make_tenant()))

    page = browser.post("/demo/sign-in/", {"mail": "gina@contoso.example"})

    assert page.status_code == 200
    assert USER not in browser.session
    assert browser.session[PENDING]["hint"] == "gina@contoso.example"
    assert browser.session[PENDING]["next"] == "/"


def test_the_account_that_nobody_manages_gets_the_email_page_filled_in():
    organization("adatum", is_managed=False)
    browser = client_of(make_user(make_tenant()))

    page = browser.post("/demo/sign-in/", {"mail": "ann@adatum.example"}, follow=True)

    assert page.redirect_chain == [("/sign-in/?email=ann%40adatum.example", 302)]
    assert 'value="ann@adatum.example"' in page.content.decode()


@pytest.mark.parametrize("mail", ["nobody@seatkeeper.example", "nobody@contoso.example", ""])
def test_no_other_account_is_signed_in(mail):
    browser = client_of(make_user(make_tenant()))
    before = dict(browser.session)

    assert browser.post("/demo/sign-in/", {"mail": mail}).status_code == 404
    assert dict(browser.session) == before


@pytest.mark.parametrize("path", ["sign-in/", "clock/"])
def test_a_form_from_elsewhere_is_refused(path, asked):
    browser = Client(enforce_csrf_checks=True)

    assert browser.post(f"/demo/{path}", {"mail": "gina@contoso.example", "days": "1"}).status_code == 403
    assert asked == []


def test_the_clock_is_moved_by_a_worker_and_by_one_at_a_time(asked):
    first = Client().post("/demo/clock/", {"days": "7"})
    second = Client().post("/demo/clock/", {"days": "30"})
    page = Client().get("/demo/clock/").content.decode()

    assert [first.status_code, second.status_code] == [302, 302]
    assert [days for days, _token in asked] == [7]
    assert "0 of 7 days are over" in page
    assert '<meta http-equiv="refresh" content="2">' in page
    assert 'name="days"' not in page


@pytest.mark.parametrize("days", ["0", "-1", "2", "400", "", "x", "\u0667"])
def test_the_clock_moves_by_its_steps_only(asked, days):
    assert Client().post("/demo/clock/", {"days": days}).status_code == 422
    assert asked == []
    assert not walk.is_going()


def test_a_broker_that_is_away_is_told_and_leaves_the_clock_free(monkeypatch):
    def refuse(*_args, **_options):
        raise OperationalError

    monkeypatch.setattr(walk_days, "apply_async", refuse)

    assert Client().post("/demo/clock/", {"days": "7"}).status_code == 503
    assert not walk.is_going()
    assert walk.shown() is None


def test_a_walk_moves_the_clock_and_shows_what_happened(asked, monkeypatch):
    monkeypatch.setattr("commerce.operations.travel.run_sweeps", swept_with_a_mail)
    walk.start(7)

    walk_days(*asked[0])
    page = Client().get("/demo/clock/").content.decode()

    assert clock.offset() == timedelta(days=7)
    assert len(walk.shown()["log"]) == 7
    assert not walk.is_going()
    assert page.count("A mail of the day</a>") == 7
    assert page.count("2 cards charged") == 7
    assert "declined" not in page
    assert 'http-equiv="refresh"' not in page


def swept_with_a_mail(*, at):
    from commerce.operations.renewals import Charged, Sweeps

    write_mail("A mail of the day")
    return Sweeps({"commerce.charge": Charged(paid=2)})


def test_a_walk_that_another_one_replaced_does_nothing(asked):
    walk.start(1)

    walk_days(1, "another token")

    assert clock.offset() == timedelta(0)
    assert walk.is_going()


def test_a_walk_that_broke_off_says_so_and_lets_the_next_begin(asked, monkeypatch):
    def fail(*, at):
        raise RuntimeError

    monkeypatch.setattr("commerce.operations.travel.run_sweeps", fail)
    walk.start(7)
    with pytest.raises(RuntimeError):
        walk_days(*asked[0])
    page = Client().get("/demo/clock/").content.decode()

    assert "Stopped after 0 of 7 days" in page
    assert page.count('name="days"') == 3


def test_mails_are_listed_newest_first():
    write_mail("First", "Second")

    mails = mailbox.mails()
    page = Client().get("/demo/mail/").content.decode()

    assert [(mail.subject, mail.to, mail.at) for mail in mails] == [
        ("Second", "pat@contoso.example", NOON),
        ("First", "pat@contoso.example", NOON),
    ]
    assert page.index("Second</a>") < page.index("First</a>")
    assert "22 Nov 2026, 13:00" in page


def test_a_mail_is_shown_as_text_and_in_a_frame_without_script():
    write_mail("Hello")
    (mail,) = mailbox.mails()

    page = Client().get(f"/demo/mail/{mail.key}/")
    frame = Client().get(f"/demo/mail/{mail.key}/html/")

    assert "Hello in plain &lt;b&gt;words&lt;/b&gt;" in page.content.decode()
    assert f'src="/demo/mail/{mail.key}/html/"' in page.content.decode()
    assert "frame-src 'self'" in page["Content-Security-Policy"]
    assert '<head><base target="_top"></head>' in frame.content.decode()
    policy = frame["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
    assert "sandbox allow-top-navigation-by-user-activation" in policy
    assert "script" not in policy


def test_a_mail_without_html_has_no_frame():
    write_mail("Hello", html="")
    (mail,) = mailbox.mails()

    assert "<iframe" not in Client().get(f"/demo/mail/{mail.key}/").content.decode()
    assert Client().get(f"/demo/mail/{mail.key}/html/").status_code == 404


@pytest.mark.parametrize(
    "key", ["20261122-120000-1-0", "x", "..%2F..%2Fclock", "../../clock", "20261122-120000-1-0%00", "clock-0"]
)
def test_a_key_never_names_anything_but_a_mail(tmp_path, key):
    write_mail("Hello")
    (tmp_path / "clock.log").write_text("Subject: not a mail\n\nsecret")

    assert Client().get(f"/demo/mail/{key}/").status_code == 404


def test_lists_every_card_of_the_processor():
    page = Client().get("/demo/cards/").content.decode()
    numbers = [part.split("</code>")[0] for part in page.split('<code class="demo-number">')[1:]]

    assert sorted(number.replace(" ", "") for number in numbers) == sorted(
        card.number for card in all_cards()
    )
    assert "4242 4242 4242 4242" in numbers
    assert "3782 822463 10005" in numbers
