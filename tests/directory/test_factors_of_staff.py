"""The second factor of the vendor's staff: set up, shown, removed, limited, walled (docs/adr/0033)."""

import re
import time
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.db import connection
from django.db.utils import ProgrammingError
from django.test import Client

from config.kit.actors import Actor
from config.kit.clock import real_now
from config.kit.errors import NotAllowed
from config.kit.rate import TooManyTries
from config.kit.tenancy import check_walls, tenant_atomic, use_login
from directory import factors
from directory.models import AuditEntry, OutgoingMail
from directory.operations import second_factor
from directory.operations.leaving import delete_user
from directory.operations.outbox import message_of
from directory.sessions import PROVED, STAFF_FACTOR
from directory.views import factor_limits
from tests.factories import client_of, make_staff, make_tenant, make_user, staff_actor_of

pytestmark = pytest.mark.django_db

START = "/operator/"
SHOW = "/operator/second-factor/"
APP = "/operator/second-factor/app/"
OWN = "/operator/second-factor/own/"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@pytest.fixture
def vendor():
    return make_tenant(kind="vendor", name="Vendor")


@pytest.fixture
def sven(vendor):
    return make_staff(vendor, "staff_support", name="Sven", email="sven@vendor.example")


@pytest.fixture(autouse=True)
def _no_tries_yet():
    """Limits are counted in Valkey, which no test rolls back."""
    import redis
    from django.conf import settings

    store = redis.from_url(settings.REDIS_URL)
    for key in store.scan_iter("seatkeeper:rate:factor-*"):
        store.delete(key)


def set_up(user, *, at):
    """An app with a known secret, set up a day ago; the recovery codes that came with it."""
    actor = staff_actor_of(user, at=at)
    then = real_now() - timedelta(days=1)
    return second_factor.set_up_app(
        actor=actor,
        secret=SECRET,
        code=factors.code_at(SECRET, then),
        has_shown=False,
        at=at,
        real_at=then,
    )


def code_now():
    return factors.code_at(SECRET, real_now())


def wrong_code():
    """A code that is none of those taken around now."""
    taken = {factors.code_at(SECRET, real_now() + timedelta(seconds=30 * step)) for step in range(-3, 4)}
    return next(f"{n:06}" for n in range(10) if f"{n:06}" not in taken)


def rows_of(user):
    with tenant_atomic(user.tenant_id):
        return list(Authenticator.objects.filter(user=user).order_by("id"))


def deeds_of(tenant):
    with tenant_atomic(tenant.pk):
        rows = AuditEntry.objects.filter(code__startswith="directory.second_factor").order_by("id")
        return [row.code.removeprefix("directory.second_factor.") for row in rows]


def post(browser, address, **fields):
    return browser.post(address, fields)


# --- The way in ---------------------------------------------------------------------------------------------


def test_staff_without_a_factor_are_led_to_set_one_up_and_then_in(sven):
    browser = client_of(sven)

    asked = browser.get(START)
    shown = browser.get(asked["Location"])
    page = browser.get(shown["Location"])
    secret = re.search(r'id="secret"[^>]* value="([A-Z2-7 ]+)"', page.text)[1].replace(" ", "")
    done = post(browser, APP, code=factors.code_at(secret, real_now()))

    assert (asked["Location"], shown["Location"]) == (f"{SHOW}?next=%2Foperator%2F", APP)
    assert 'role="img"' in page.text
    assert len(re.findall(r"<li>\d{8}</li>", done.text)) == 10
    assert browser.get(START).status_code == 200


def test_the_secret_and_the_seed_are_encrypted_at_rest_also_in_the_session(sven, at):
    codes = set_up(sven, at=at)
    browser = client_of(make_staff(sven.tenant, "staff_support"))
    page = browser.get(APP).text
    pending = re.search(r'id="secret"[^>]* value="([A-Z2-7 ]+)"', page)[1].replace(" ", "")

    stored = str([row.data for row in rows_of(sven)])

    assert SECRET not in stored
    assert all(code not in stored for code in codes)
    assert pending not in str(dict(browser.session.items()))


def test_a_reload_shows_the_same_secret_and_a_wrong_code_keeps_it(sven):
    browser = client_of(sven)
    first = browser.get(APP)
    secret = re.search(r'id="secret"[^>]* value="([A-Z2-7 ]+)"', first.text)[1]

    wrong = post(browser, APP, code="abcdef")

    assert wrong.status_code == 422
    assert secret in browser.get(APP).text
    assert rows_of(sven) == []


def test_the_code_of_the_app_opens_the_site_and_the_session_gets_a_new_key(sven, at):
    set_up(sven, at=at)
    browser = client_of(sven)
    before = browser.session.session_key

    answer = post(browser, SHOW, code=code_now(), next="/operator/second-factor/own/")

    assert (answer.status_code, answer["Location"]) == (303, OWN)
    assert browser.get(OWN).status_code == 200
    assert browser.session.session_key != before
    assert deeds_of(sven.tenant) == ["added", "codes_made", "shown"]


def test_no_other_session_of_the_person_is_opened_by_it(sven, at):
    set_up(sven, at=at)
    here, there = client_of(sven), client_of(sven)

    post(here, SHOW, code=code_now())

    assert there.get(START)["Location"].startswith(SHOW)


def test_a_post_to_a_page_of_the_site_is_led_to_the_factor_and_does_nothing(sven, at):
    set_up(sven, at=at)

    answer = post(client_of(sven), OWN, action="codes")

    assert answer["Location"] == f"{SHOW}?next=%2Foperator%2F"
    assert deeds_of(sven.tenant) == ["added", "codes_made"]


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil.example"])
def test_the_way_on_never_leads_off_the_site(sven, at, target):
    set_up(sven, at=at)

    assert post(client_of(sven), SHOW, code=code_now(), next=target)["Location"] == "/"


# --- Codes ----------------------------------------------------------------------------------------------------


def test_a_code_is_taken_once(sven, at):
    set_up(sven, at=at)
    code = code_now()

    first, second = (post(client_of(sven), SHOW, code=code).status_code for _ in range(2))

    assert (first, second) == (303, 422)


def test_the_clock_of_the_app_may_be_half_a_minute_off_and_no_more(at):
    for seconds, is_taken in ((-30, True), (30, True), (-90, False), (90, False)):
        shown = factors.code_at(SECRET, at + timedelta(seconds=seconds))

        assert (factors.step_of(SECRET, shown, at=at) is not None) == is_taken


def test_what_was_shown_before_is_not_taken_again_though_it_is_still_the_code_of_a_neighbor(sven, at):
    set_up(sven, at=at)
    actor, real_at = staff_actor_of(sven), real_now()
    earlier = factors.code_at(SECRET, real_at - timedelta(seconds=30))

    now_taken = second_factor.take_code(
        actor=actor, code=factors.code_at(SECRET, real_at), at=at, real_at=real_at
    )
    then_taken = second_factor.take_code(actor=actor, code=earlier, at=at, real_at=real_at)

    assert (now_taken, then_taken) == (True, False)


def test_a_recovery_code_opens_the_site_once(sven, at):
    codes = set_up(sven, at=at)

    first, second = (post(client_of(sven), SHOW, code=f"{codes[3][:4]} {codes[3][4:]}") for _ in range(2))

    assert (first.status_code, second.status_code) == (303, 422)
    browser = client_of(sven, with_factor=True)
    assert "9 left" in browser.get(OWN).text


def test_new_recovery_codes_make_the_old_ones_worthless(sven, at):
    old = set_up(sven, at=at)
    page = post(client_of(sven, with_factor=True), OWN, action="codes")
    new = re.findall(r"<li>(\d{8})</li>", page.text)

    answers = [post(client_of(sven), SHOW, code=code).status_code for code in (old[0], new[0])]

    assert len(new) == 10
    assert answers == [422, 303]


# --- Limits ---------------------------------------------------------------------------------------------------


def test_after_five_wrong_codes_the_right_one_waits_too(sven, at):
    set_up(sven, at=at)
    browser = client_of(sven)

    answers = [post(browser, SHOW, code=wrong_code()).status_code for _ in range(5)]
    last = post(browser, SHOW, code=code_now())

    assert answers == [422] * 5
    assert last.status_code == 429
    assert int(last["Retry-After"]) > 0
    assert browser.get(START)["Location"].startswith(SHOW)


def test_a_new_session_does_not_begin_to_count_anew(sven, at):
    set_up(sven, at=at)
    for _ in range(5):
        post(client_of(sven), SHOW, code=wrong_code())

    assert post(client_of(sven), SHOW, code=code_now()).status_code == 429


def test_whoever_guesses_elsewhere_does_not_lock_the_person_out_of_a_known_browser(sven, at):
    set_up(sven, at=at)
    known, thief = client_of(sven), client_of(sven)
    post(known, SHOW, code=code_now())
    cookie = known.cookies[factor_limits.COOKIE]
    for _ in range(6):
        refused = post(thief, SHOW, code=wrong_code())
    again = client_of(sven)
    again.cookies[factor_limits.COOKIE] = cookie.value

    assert refused.status_code == 429
    # Its code was taken a moment ago, so it is refused as one that was used: what counts is that it was looked at.
    assert post(again, SHOW, code=code_now()).status_code in (303, 422)


def test_the_cookie_of_a_known_browser_is_worth_nothing_for_somebody_else_nor_when_made_up(sven, at, rf):
    other = make_staff(sven.tenant, "staff_support")
    request = rf.get("/")
    request.COOKIES[factor_limits.COOKIE] = "made-up"
    for _ in range(5):
        factor_limits.count_try(request, sven.key)
    with pytest.raises(TooManyTries):
        factor_limits.count_try(request, sven.key)

    factor_limits.count_try(request, other.key)


def test_nobody_but_the_person_can_try_at_all(sven, at):
    set_up(sven, at=at)
    stranger = make_user(make_tenant(), roles=("global_admin",))

    assert post(client_of(stranger), SHOW, code=code_now()).status_code == 404
    assert post(Client(), SHOW, code=code_now())["Location"].startswith("/sign-in/")


# --- Changing it ----------------------------------------------------------------------------------------------


def test_the_only_factor_stays(sven, at):
    set_up(sven, at=at)
    browser = client_of(sven, with_factor=True)

    answer = post(browser, OWN, factor=rows_of(sven)[0].pk)

    assert answer.status_code == 409
    assert "Nothing was changed." in answer.text
    assert len(rows_of(sven)) == 2


def test_one_of_two_is_removed(sven, at):
    set_up(sven, at=at)
    with tenant_atomic(sven.tenant_id):
        key = Authenticator.objects.create(user=sven, type="webauthn", data={"name": "Blue key"})
    app = rows_of(sven)[0]

    answer = post(client_of(sven, with_factor=True), OWN, factor=app.pk)

    assert answer.status_code == 303
    assert [row.pk for row in rows_of(sven) if row.type != "recovery_codes"] == [key.pk]
    assert deeds_of(sven.tenant)[-1] == "removed"


def test_somebody_elses_factor_is_not_there(sven, vendor, at):
    other = make_staff(vendor, "staff_support")
    set_up(sven, at=at)
    set_up(other, at=at)

    answer = post(client_of(sven, with_factor=True), OWN, factor=rows_of(other)[0].pk)

    assert answer.status_code == 404
    assert len(rows_of(other)) == 2


def test_a_sign_in_that_is_too_old_changes_nothing_and_sets_nothing_up(sven, at):
    set_up(sven, at=at)
    browser = client_of(sven, with_factor=True)
    session = browser.session
    session[PROVED] = time.time() - 400
    session.save()

    answers = [post(browser, OWN, action="codes"), browser.get(APP)]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert all("/sign-in/again/" in answer.text for answer in answers)
    assert deeds_of(sven.tenant) == ["added", "codes_made"]


def test_another_factor_is_set_up_only_by_who_has_shown_one(sven, at):
    set_up(sven, at=at)
    browser = client_of(sven)

    page = browser.get(APP)
    with pytest.raises(NotAllowed):
        second_factor.set_up_app(
            actor=staff_actor_of(sven),
            secret=SECRET,
            code=code_now(),
            has_shown=False,
            at=at,
            real_at=real_now(),
        )

    assert page["Location"].startswith(SHOW)


def test_a_second_app_is_refused(sven, at):
    set_up(sven, at=at)
    browser = client_of(sven, with_factor=True)
    page = browser.get(APP).text
    secret = re.search(r'id="secret"[^>]* value="([A-Z2-7 ]+)"', page)[1].replace(" ", "")

    assert post(browser, APP, code=factors.code_at(secret, real_now())).status_code == 409


def test_who_is_no_staff_sets_none_up(vendor, at):
    member = make_user(vendor, roles=("global_admin",))

    answers = [client_of(member).get(page).status_code for page in (SHOW, APP, OWN)]

    assert answers == [404, 404, 404]


def test_the_installation_makes_who_lost_theirs_set_up_a_new_one(sven, at):
    from config.kit.actors import Actor

    set_up(sven, at=at)
    browser = client_of(sven, with_factor=True)

    count = second_factor.forget_factors(
        actor=Actor.system(sven.tenant_id, door="cli"), user_id=sven.pk, at=at, real_at=real_now()
    )

    assert count == 1
    assert rows_of(sven) == []
    assert browser.get(START)["Location"].startswith("/sign-in/")
    assert deeds_of(sven.tenant)[-1] == "forgotten"


def test_a_deleted_account_keeps_none(sven, at):
    from config.kit.actors import Actor

    set_up(sven, at=at)

    delete_user(actor=Actor.system(sven.tenant_id), user_id=sven.pk, at=at, real_at=real_now())

    assert rows_of(sven) == []


# --- Passkeys: what no browser made -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "null",
        "[]",
        "{}",
        '"x"',
        '{"id": 1}',
        *("{" * 50, "[" * 10_000),
        '{"id":"AA","rawId":"AA","type":"public-key","response":{}}',
    ],
)
def test_no_made_up_answer_is_a_passkey(sven, at, settings, answer):
    settings.PUBLIC_URL = "http://localhost:8000"
    set_up(sven, at=at)
    browser = client_of(sven)

    shown = post(browser, SHOW, credential=answer)

    assert shown.status_code == 422
    assert browser.get(START)["Location"].startswith(SHOW)


def test_an_address_that_is_a_number_offers_no_passkeys(sven, at, settings):
    settings.PUBLIC_URL = "http://127.0.0.1:8000"
    set_up(sven, at=at)
    browser = client_of(sven, with_factor=True)

    page = browser.get(OWN)

    assert "Passkeys need an address with a name" in page.text
    assert browser.get("/operator/second-factor/passkey/").status_code == 404


# --- The wall ---------------------------------------------------------------------------------------------------


def test_factors_are_behind_the_wall_of_the_persons_home(sven, at):
    set_up(sven, at=at)
    stranger = make_tenant()

    with tenant_atomic(stranger.pk):
        assert Authenticator.objects.count() == 0
        assert Authenticator.objects.filter(user_id=sven.pk).delete()[0] == 0
        with pytest.raises(ProgrammingError, match="row-level security"), tenant_atomic(stranger.pk):
            Authenticator.objects.create(user=sven, type="webauthn", data={})
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM mfa_authenticator")
        assert cursor.fetchone() == (0,)


@pytest.mark.django_db(databases=["default", "owner", "worker"])
def test_the_check_of_walls_names_the_table_when_its_wall_is_down():
    with use_login("owner"), connection_of("owner").cursor() as cursor:
        cursor.execute("ALTER TABLE mfa_authenticator NO FORCE ROW LEVEL SECURITY")

        assert "mfa_authenticator has no forced row-level security" in check_walls("owner")


def connection_of(alias):
    from django.db import connections

    return connections[alias]


def test_the_walls_stand():
    assert check_walls() == []


def test_the_mark_of_the_session_is_given_by_showing_it_alone(sven, at):
    set_up(sven, at=at)
    browser = client_of(sven)
    browser.get(SHOW)
    post(browser, SHOW, code=wrong_code())

    assert STAFF_FACTOR not in browser.session


# --- What the person is told --------------------------------------------------------------------------------


def mails_to(user):
    with tenant_atomic(user.tenant_id):
        rows = OutgoingMail.objects.filter(to_user_id=user.pk, kind="second_factor_changed").order_by("id")
        return [(row.context["what"], row.context["factor"], row.context["factor_name"]) for row in rows]


def add_passkey(user, name):
    with tenant_atomic(user.tenant_id):
        return Authenticator.objects.create(
            user=user, type=factors.PASSKEY, data={"name": name, "credential": {}}, created_at=real_now()
        )


def test_the_person_gets_a_mail_about_each_factor_that_comes_and_goes_and_none_for_showing_one(sven, at):
    set_up(sven, at=at)
    key = add_passkey(sven, "Blue key")
    browser = client_of(sven, with_factor=True)

    post(browser, SHOW, code=code_now())
    post(browser, OWN, factor=key.pk)
    post(browser, OWN, action="codes")
    post(browser, OWN, action="codes")

    assert mails_to(sven) == [
        ("added", "totp", ""),
        ("removed", "webauthn", "Blue key"),
        ("codes_made", "", ""),
        ("codes_made", "", ""),
    ]


def test_whoever_was_reset_by_the_installation_is_told(sven, at):
    set_up(sven, at=at)

    second_factor.forget_factors(
        actor=Actor.system(sven.tenant_id, door="cli"), user_id=sven.pk, at=at, real_at=real_now()
    )

    assert mails_to(sven)[1:] == [("forgotten", "", "")]


def test_what_is_refused_tells_nobody(sven, at):
    set_up(sven, at=at)
    browser = client_of(sven, with_factor=True)
    app = rows_of(sven)[0]

    post(browser, OWN, factor=app.pk)
    post(client_of(sven), SHOW, code=wrong_code())

    assert len(mails_to(sven)) == 1


def test_the_mail_holds_no_secret_and_says_what_to_do(sven, at):
    codes = set_up(sven, at=at)
    with tenant_atomic(sven.tenant_id):
        message = message_of(OutgoingMail.objects.get(kind="second_factor_changed"))

    text = f"{message.subject} {message.body} {message.alternatives}"
    assert message.subject == "An authenticator app was set up for your account"
    assert "If it was not you, end your sessions" in message.body
    assert SECRET not in text
    assert all(code not in text for code in codes)


# --- An hour without a click --------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [START, OWN, "/my/accounts/"])
@pytest.mark.parametrize(("seconds", "goes_on"), [(-1, True), (1, False)])
def test_a_session_of_staff_ends_to_the_second_after_an_hour_without_a_click(
    sven, at, address, seconds, goes_on, monkeypatch
):
    set_up(sven, at=at)
    browser = client_of(sven, with_factor=True)
    later = browser.session["session_seen"] + 3600 + seconds
    monkeypatch.setattr("directory.middleware.time.time", lambda: later)

    answer = browser.get(address)

    assert answer.status_code == (200 if goes_on else 302)
    assert goes_on or answer["Location"].startswith("/sign-in/?next=")
    assert (STAFF_FACTOR in browser.session) == goes_on


def test_each_click_begins_the_hour_anew_and_the_day_ends_it_anyway(sven, at, monkeypatch):
    set_up(sven, at=at)
    browser = client_of(sven, with_factor=True)
    began = browser.session["session_since"]
    clock = {"now": began}
    monkeypatch.setattr("directory.middleware.time.time", lambda: clock["now"])
    answers = []
    for click in range(1, 26):
        clock["now"] = began + click * 3599
        answers.append(browser.get(START).status_code)

    assert answers == [200] * 24 + [302]


def test_without_the_second_factor_a_session_of_staff_ends_after_the_same_hour(sven, monkeypatch):
    browser = client_of(sven)
    later = browser.session["session_seen"] + 3601
    monkeypatch.setattr("directory.middleware.time.time", lambda: later)

    assert browser.get("/my/accounts/").status_code == 302
