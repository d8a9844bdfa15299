"""Sessions of browsers: listed, ended by the person or an admin, and refused at the next request (I-24)."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse

from config.kit.clock import real_now
from config.kit.errors import NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic, use_login
from directory.agents import browser_of, system_of
from directory.models import AuditEntry, BrowserSession, User
from directory.operations.leaving import delete_user
from directory.operations.people import disable_user, enable_user
from directory.operations.roles import grant_role, revoke_role
from directory.operations.sessions import KEPT, end_own_session, end_sessions_of, forget_sessions
from directory.queries.sessions import sessions_of
from tests.factories import actor_of, client_of, make_relationship, make_tenant, make_user

pytestmark = pytest.mark.django_db
PAGE = "/my/sessions/"


def sessions(user):
    with tenant_atomic(user.tenant_id):
        return list(BrowserSession.objects.filter(user=user).order_by("pk"))


def is_signed_in(browser):
    """Whether the next request is answered as the person's."""
    answer = browser.get("/my/accounts/")
    assert answer.status_code == 200 or answer["Location"].startswith("/sign-in/")
    return answer.status_code == 200


def codes(tenant):
    with tenant_atomic(tenant.pk):
        rows = AuditEntry.objects.filter(tenant=tenant, code__startswith="directory.session.")
        return list(rows.order_by("pk").values_list("code", "target_label", "after"))


def test_each_session_is_listed_and_the_current_one_marked():
    pat = make_user(make_tenant())
    first, second = client_of(pat), client_of(pat)

    page = first.get(PAGE)

    assert page.status_code == 200
    assert [line["is_current"] for line in page.context["rows"]] == [False, True]
    assert [line["is_current"] for line in second.get(PAGE).context["rows"]] == [True, False]
    assert page.text.count("This one") == 1


def test_a_session_that_is_ended_is_refused_at_its_next_request_and_the_others_go_on():
    tenant = make_tenant()
    pat = make_user(tenant, name="Pat")
    here, there = client_of(pat), client_of(pat)
    (_mine, theirs) = sessions(pat)

    ended = here.post(PAGE, {"key": str(theirs.key)})

    assert ended.status_code == 303
    assert (is_signed_in(here), is_signed_in(there)) == (True, False)
    assert codes(tenant) == [("directory.session.ended", "Pat", {"sessions": 1})]


def test_all_others_end_at_once():
    tenant = make_tenant()
    pat = make_user(tenant, name="Pat")
    here, *others = (client_of(pat) for _ in range(3))

    here.post(PAGE, {"action": "others"})
    here.post(PAGE, {"action": "others"})

    assert is_signed_in(here)
    assert [is_signed_in(each) for each in others] == [False, False]
    assert codes(tenant) == [("directory.session.ended", "Pat", {"sessions": 2})]


def test_a_copied_cookie_ends_with_signing_out():
    pat = make_user(make_tenant())
    browser = client_of(pat)
    stolen = Client()
    stolen.cookies[settings.SESSION_COOKIE_NAME] = browser.cookies[settings.SESSION_COOKIE_NAME].value
    assert is_signed_in(stolen)

    browser.post("/sign-out/")

    assert not is_signed_in(stolen)
    (row,) = sessions(pat)
    assert row.ended_at is not None


def test_a_session_whose_row_is_not_open_is_nobodys_even_where_the_browser_still_has_it():
    pat = make_user(make_tenant())
    browser = client_of(pat)
    with tenant_atomic(pat.tenant_id):
        BrowserSession.objects.filter(user=pat).update(ended_at=real_now())

    assert not is_signed_in(browser)


def test_a_session_of_another_person_is_not_ones_own_to_end(at):
    tenant = make_tenant()
    pat, erik = make_user(tenant), make_user(tenant)
    eriks = client_of(erik)
    (row,) = sessions(erik)

    answer = client_of(pat).post(PAGE, {"key": str(row.key)})

    assert answer.status_code == 404
    assert client_of(pat).post(PAGE, {"key": "nonsense"}).status_code == 422
    with pytest.raises(NotVisible):
        end_own_session(actor=actor_of(pat), key=row.key, at=at, real_at=real_now())
    assert is_signed_in(eriks)


def test_a_partner_who_acts_for_a_customer_ends_the_own_sessions_at_home(at):
    contoso, northwind = make_tenant(), make_tenant()
    petra = make_user(northwind, name="Petra")
    make_relationship(contoso, northwind, users=(petra,), ends_at=real_now() + timedelta(days=30))
    acting, other = client_of(petra, contoso), client_of(petra)

    listed = acting.get(PAGE)
    acting.post(PAGE, {"action": "others", "shown_for_tenant": contoso.pk})

    assert len(listed.context["rows"]) == 2
    assert not is_signed_in(other)
    assert codes(contoso) == []
    assert codes(northwind) == [("directory.session.ended", "Petra", {"sessions": 1})]


# --- What ends a session by itself (I-24) ---------------------------------------------------------------------


def test_a_disabled_persons_next_request_is_refused_also_after_enabling_again(at):
    tenant = make_tenant()
    uma, pat = actor_of(make_user(tenant, roles=("user_admin",))), make_user(tenant)
    browser = client_of(pat)

    disable_user(actor=uma, user_id=pat.pk, at=real_now() + timedelta(seconds=1))
    while_disabled = is_signed_in(browser)
    enable_user(actor=uma, user_id=pat.pk, at=real_now())

    assert (while_disabled, is_signed_in(browser)) == (False, False)
    assert [row.ended_at is None for row in sessions(pat)] == [False]


def test_a_deleted_persons_next_request_is_refused_and_where_they_were_is_forgotten(at):
    tenant = make_tenant()
    uma, pat = actor_of(make_user(tenant, roles=("user_admin",))), make_user(tenant)
    browser = client_of(pat)

    delete_user(actor=uma, user_id=pat.pk, at=at, real_at=real_now())

    assert not is_signed_in(browser)
    assert sessions(pat) == []


def test_a_demoted_admin_sees_nothing_of_it_at_the_next_request(at):
    tenant = make_tenant()
    gina = actor_of(make_user(tenant, roles=("global_admin",)))
    bill = make_user(tenant, roles=("billing_admin",))
    browser = client_of(bill)
    before = browser.get(reverse("portal:your-products")).status_code

    revoke_role(actor=gina, user_id=bill.pk, role="billing_admin", reason="Moves on.", at=at)

    assert (before, browser.get(reverse("portal:your-products")).status_code) == (200, 404)


def test_the_key_changes_with_the_roles_and_the_session_goes_on(at):
    tenant = make_tenant()
    gina = actor_of(make_user(tenant, roles=("global_admin",)))
    pat = make_user(tenant)
    browser = client_of(pat)
    browser.get(PAGE)
    keys = [browser.session.session_key]

    for change in (grant_role, revoke_role):
        change(actor=gina, user_id=pat.pk, role="billing_admin", reason="For a day.", at=at)
        beside = browser.get(PAGE, headers={"Sec-Fetch-Dest": "empty"}).status_code
        still = browser.session.session_key
        page = browser.get(PAGE).status_code
        keys.append(browser.session.session_key)
        assert (beside, page, still) == (200, 200, keys[-2])
    browser.get(PAGE)

    assert len(set(keys)) == 3
    assert browser.session.session_key == keys[-1]
    assert len(sessions(pat)) == 1
    old = Client()
    old.cookies[settings.SESSION_COOKIE_NAME] = keys[0]
    assert not is_signed_in(old)


def test_the_key_changes_when_a_partner_acts_stops_and_is_stopped(at):
    contoso, northwind = make_tenant(), make_tenant()
    petra = make_user(northwind, roles=("global_admin",))
    end = real_now() + timedelta(days=30)
    relationship = make_relationship(contoso, northwind, users=(petra,), ends_at=end)
    browser = client_of(petra)
    keys = [browser.session.session_key]

    browser.post(reverse("portal:act-for"), {"customer": contoso.pk, "shown_for_tenant": northwind.pk})
    keys.append(browser.session.session_key)
    browser.get(PAGE)
    same = browser.session.session_key
    with tenant_atomic(contoso.pk):
        type(relationship).objects.filter(pk=relationship.pk).update(roles=["license_admin"])
    browser.get(PAGE)
    keys.append(browser.session.session_key)
    with tenant_atomic(contoso.pk):
        type(relationship).objects.filter(pk=relationship.pk).update(ends_at=real_now())
    page = browser.get(PAGE)
    keys.append(browser.session.session_key)

    assert same == keys[1]
    assert len(set(keys)) == 4
    assert page.context["actor"].tenant_id == northwind.pk


def test_a_session_is_over_24_hours_after_the_sign_in_whatever_the_browser_holds():
    pat = make_user(make_tenant())
    browser = client_of(pat)

    def after(age):
        with tenant_atomic(pat.tenant_id):
            BrowserSession.objects.filter(user=pat).update(started_at=real_now() - age)
        return is_signed_in(browser)

    day = settings.SESSION_ABSOLUTE_AGE
    assert (after(day - timedelta(minutes=1)), after(day)) == (True, False)


@pytest.mark.parametrize(("seconds", "goes_on"), [(-1, True), (1, False)])
def test_an_idle_session_ends_to_the_second(seconds, goes_on, monkeypatch):
    pat = make_user(make_tenant())
    browser = client_of(pat)
    later = real_now() + timedelta(seconds=settings.SESSION_COOKIE_AGE + seconds)
    monkeypatch.setattr("directory.middleware.time.time", later.timestamp)

    assert is_signed_in(browser) == goes_on


def test_an_admins_session_is_idle_sooner(monkeypatch):
    tenant = make_tenant()
    browsers = [client_of(make_user(tenant, roles=roles)) for roles in ((), ("license_admin",))]
    later = real_now() + settings.SESSION_IDLE_ADMIN + timedelta(seconds=1)
    monkeypatch.setattr("directory.middleware.time.time", later.timestamp)

    assert [is_signed_in(browser) for browser in browsers] == [True, False]


def test_a_sign_of_life_is_noted_once_a_minute(monkeypatch):
    pat = make_user(make_tenant())
    browser = client_of(pat)
    (before,) = sessions(pat)
    later = real_now() + timedelta(seconds=90)
    monkeypatch.setattr("directory.middleware.time.time", later.timestamp)
    monkeypatch.setattr("directory.middleware.real_now", lambda: later)

    browser.get("/my/accounts/", REMOTE_ADDR="2001:db8::7")

    (after,) = sessions(pat)
    assert (before.address, after.address) == (None, "2001:db8::7")
    assert after.seen_at == later


def test_sessions_of_either_age_are_not_listed_and_old_ones_are_forgotten(at):
    pat = make_user(make_tenant())
    client_of(pat)
    real = real_now()
    idle, longest = timedelta(seconds=settings.SESSION_COOKIE_AGE), settings.SESSION_ABSOLUTE_AGE

    def seen(when, *, is_admin=False):
        with tenant_atomic(pat.tenant_id):
            return len(sessions_of(tenant_id=pat.tenant_id, user_id=pat.pk, is_admin=is_admin, real_at=when))

    counts = [
        seen(real),
        seen(real + idle + timedelta(minutes=1)),
        seen(real + timedelta(hours=2), is_admin=True),
    ]
    with tenant_atomic(pat.tenant_id):
        BrowserSession.objects.update(started_at=real - longest, seen_at=real)
    counts.append(seen(real))
    with tenant_atomic(pat.tenant_id):
        BrowserSession.objects.update(started_at=real - KEPT - timedelta(hours=1))
    client_of(pat)

    assert counts == [1, 0, 0, 0]
    assert len(sessions(pat)) == 1


# --- Admins --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("admin", "person", "is_ended"),
    [
        ("user_admin", (), True),
        ("global_admin", (), True),
        ("global_admin", ("billing_admin",), True),
        ("user_admin", ("billing_admin",), False),
        ("license_admin", (), False),
        ("billing_admin", (), False),
        ("global_reader", (), False),
    ],
)
def test_who_manages_a_person_ends_their_sessions(at, admin, person, is_ended):
    tenant = make_tenant()
    pat = make_user(tenant, name="Pat", roles=person)
    browsers = [client_of(pat), client_of(pat)]
    admins = client_of(make_user(tenant, roles=(admin,)))
    address = reverse("portal:person-sessions", args=[pat.key])

    shown, answer = admins.get(address), admins.post(address)

    assert (shown.status_code, answer.status_code) == ((200, 303) if is_ended else (403, 403))
    assert [is_signed_in(browser) for browser in browsers] == [not is_ended] * 2
    said = [("directory.session.ended_by_admin", "Pat", {"sessions": 2})]
    assert codes(tenant) == (said if is_ended else [])


def test_sessions_of_a_person_of_another_organization_are_not_there(at):
    stranger = make_user(make_tenant())
    browser = client_of(stranger)
    gina = make_user(make_tenant(), roles=("global_admin",))

    assert client_of(gina).post(reverse("portal:person-sessions", args=[stranger.key])).status_code == 404
    with pytest.raises(NotVisible):
        end_sessions_of(actor=actor_of(gina), user_id=stranger.pk, at=at, real_at=real_now())
    assert is_signed_in(browser)


def test_the_operation_itself_refuses_a_user_admin_over_an_admin(at):
    tenant = make_tenant()
    uma, bill = make_user(tenant, roles=("user_admin",)), make_user(tenant, roles=("billing_admin",))

    with pytest.raises(NotAllowed):
        end_sessions_of(actor=actor_of(uma), user_id=bill.pk, at=at, real_at=real_now())


def test_what_a_browser_says_of_itself_is_kept_plain(at):
    pat = make_user(make_tenant())
    with tenant_atomic(pat.tenant_id):
        from directory.operations.sessions import begin_session

        row = begin_session(
            user=User.objects.get(pk=pat.pk),
            address="fe80::1%eth0",
            agent="Evil\x00\r\n<script>" + "x" * 5000,
            real_at=real_now(),
        )

    assert (row.address, row.agent[:12], len(row.agent)) == ("fe80::1", "Evil<script>", 300)


@pytest.mark.parametrize(
    ("agent", "browser", "system"),
    [
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36",
            "Chrome",
            "Windows",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/131.0 Safari/537.36 Edg/131.0",
            "Edge",
            "Windows",
        ),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0", "Firefox", "Linux"),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1",
            "Safari",
            "iPhone",
        ),
        ("Mozilla/5.0 (Linux; Android 15) Chrome/131.0 Mobile Safari/537.36", "Chrome", "Android"),
        ("", "", ""),
        ("\u202eevil", "", ""),
    ],
)
def test_browsers_are_known_by_name(agent, browser, system):
    assert (browser_of(agent), system_of(agent)) == (browser, system)


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])
def test_sessions_that_are_over_are_deleted_whoever_began_them_and_the_others_stay():
    user = make_user(make_tenant())
    browser = client_of(user)
    at = real_now()
    with use_login("worker"):
        Session.objects.bulk_create(
            Session(
                session_key=f"visitor-{number}", session_data="", expire_date=at - timedelta(seconds=number)
            )
            for number in range(5)
        )

    assert [forget_sessions(real_at=at, limit=2) for _ in range(2)] == [5, 0]
    assert is_signed_in(browser)
