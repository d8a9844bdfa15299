"""Another identity provider: tried out, planned, confirmed by a second, put in force, and the way back (I-23; ADR 35)."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from config.demo.environment import client_of, issuers
from config.kit import clock
from config.kit.actors import Actor
from config.kit.errors import NotAllowed, NotVisible
from config.kit.secrets import decrypt
from config.kit.sweeps import schedule
from config.kit.tenancy import tenant_atomic
from directory.models import AccountLink, AuditEntry, IdentityProvider, OutgoingMail, RoleAssignment, User
from directory.operations.leaving import delete_user
from directory.operations.people import AccountUnknown, create_member_at_sign_in
from directory.operations.provider_changes import (
    LAPSES,
    NOTICE,
    UNDO,
    SecondAdminNeeded,
    TooLateToUndo,
    confirm_change,
    go_back,
    make_due_changes,
    put_in_force,
    stop_change,
)
from directory.operations.providers import ProviderAway, prepare_provider
from directory.operations.roles import revoke_role
from directory.operations.tenants import configure_identity_provider, set_member_creation
from directory.sessions import USER
from tests.directory.test_fresh_sign_in import choose, let_pass
from tests.directory.test_sign_in import organization, people, sign_in, subject_of
from tests.factories import AT, actor_of, make_user
from tests.factories import client_of as session_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("identity_provider", "no_tries_yet")]
# A sweep reads as the worker, past an open transaction of the test.
swept = pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])
PAGE, CONNECT, THERE = "/admin/sign-in/provider/", "/my/sign-in/", "/sign-in/there/"


@pytest.fixture
def contoso():
    return organization()


def signed_in(tenant, mail, *roles):
    """The browser of somebody who has just signed in, and their account."""
    browser = Client()
    sign_in(browser, mail)
    with tenant_atomic(tenant.pk):
        user = User.objects.get(pk=browser.session[USER])
        RoleAssignment.objects.bulk_create(
            RoleAssignment(tenant=tenant, user=user, role=role, granted_at=AT, granted_by="test")
            for role in roles
        )
    return browser, user


@pytest.fixture
def gina(contoso):
    return signed_in(contoso, "gina@contoso.example", "global_admin")


@pytest.fixture
def greg(contoso):
    return signed_in(contoso, "greg@contoso.example", "global_admin")


def form(key, **changed):
    client_id, secret = client_of(key)
    values = {"issuer": issuers()[key], "client_id": client_id, "client_secret": secret}
    return {"action": "prepare"} | values | changed


def rows(tenant):
    with tenant_atomic(tenant.pk):
        return list(IdentityProvider.objects.filter(tenant=tenant).order_by("pk"))


def newest(tenant):
    return rows(tenant)[-1]


def press(browser, action, provider):
    return browser.post(PAGE, {"action": action, "key": provider.key})


def try_out(browser, mail, *, page=PAGE, provider=None):
    browser.post(page, {"action": "test", "key": provider.key if provider else ""})
    location = browser.get(THERE).headers["Location"]
    return choose(browser, location, mail)


def prepared(contoso, gina, mail="fiona@fabrikam.example"):
    browser, _user = gina
    browser.post(PAGE, form("fabrikam"))
    provider = newest(contoso)
    try_out(browser, mail, provider=provider)
    return provider


def planned(contoso, gina, mail="fiona@fabrikam.example"):
    provider = prepared(contoso, gina, mail)
    press(gina[0], "put", provider)
    return newest(contoso)


def switched(contoso, gina, greg):
    """The change is in force; the instant at which that was."""
    provider = planned(contoso, gina)
    press(greg[0], "confirm", provider)
    at = provider.switch_at
    assert make_due_changes(at=at) == 1
    return at


def active(tenant):
    return next(row for row in rows(tenant) if row.is_active)


def key_of(user):
    with tenant_atomic(user.tenant_id):
        fresh = User.objects.get(pk=user.pk)
    return fresh.issuer, fresh.subject


def codes(tenant):
    with tenant_atomic(tenant.pk):
        entries = AuditEntry.objects.filter(tenant=tenant, code__startswith="directory.identity_provider.")
        return [code.rpartition(".")[2] for code in entries.order_by("pk").values_list("code", flat=True)]


def told(tenant):
    with tenant_atomic(tenant.pk):
        mails = OutgoingMail.objects.filter(tenant=tenant, kind="sign_in_changed").order_by("pk")
        return [(mail.context["what"], mail.to_user_id) for mail in mails]


def links(tenant):
    with tenant_atomic(tenant.pk):
        return {(link.user_id, link.subject) for link in AccountLink.objects.filter(tenant=tenant)}


# --- Trying out -------------------------------------------------------------------------------------------


def test_what_is_prepared_decides_nothing_and_its_secret_is_never_shown(contoso, gina):
    browser, _user = gina

    saved = browser.post(PAGE, form("fabrikam"))
    page = browser.get(PAGE).content.decode()

    assert saved.status_code == 303
    provider = newest(contoso)
    assert (provider.is_active, provider.issuer) == (False, issuers()["fabrikam"])
    assert decrypt(provider.client_secret_encrypted) == client_of("fabrikam")[1]
    assert active(contoso).issuer == issuers()["contoso"]
    assert f"/accounts/oidc/{provider.key}/login/callback/" in page
    for secret in (client_of("fabrikam")[1], client_of("contoso")[1], provider.client_secret_encrypted):
        assert secret not in page
    assert Client().get(f"/accounts/oidc/{provider.key}/login/callback/?state=a&code=b").status_code == 404


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "http://169.254.169.254/latest"},
        {"issuer": "http://127.0.0.1:9"},
        {"issuer": "ftp://login.contoso.example"},
        {"issuer": "https://login.contoso.example?tenant=1"},
        {"issuer": ""},
        {"client_id": ""},
        {"client_id": "a\x00b"},
        {"client_secret": ""},
    ],
)
def test_what_cannot_be_used_is_not_kept(contoso, gina, changed):
    browser, _user = gina

    refused = browser.post(PAGE, form("fabrikam", **changed))

    assert refused.status_code == 422
    assert "People sign in as before." in refused.content.decode()
    assert len(rows(contoso)) == 1


def test_a_test_shows_what_came_back_and_changes_nothing_of_the_session(contoso, gina):
    browser, user = gina
    browser.post(PAGE, form("fabrikam"))
    before = {name: value for name, value in browser.session.items() if name != "socialaccount_states"}

    returned = try_out(browser, "fiona@fabrikam.example", provider=newest(contoso))
    page = browser.get(PAGE).content.decode()

    assert returned.headers["Location"] == PAGE
    after = {name: value for name, value in browser.session.items() if name != "socialaccount_states"}
    assert {name: after.get(name) for name in before} == before
    assert len(people(contoso)) == 1
    assert "Here this is somebody new" in page
    for said in (
        issuers()["fabrikam"],
        subject_of("fiona@fabrikam.example"),
        "fiona@fabrikam.example",
        "amr",
    ):
        assert said in page
    assert "Plan the change" in page
    assert links(contoso) == {(user.pk, subject_of("fiona@fabrikam.example"))}
    assert codes(contoso)[-2:] == ["prepared", "tested"]


def test_a_wrong_secret_is_said_and_nothing_is_noted(contoso, gina):
    browser, _user = gina
    browser.post(PAGE, form("fabrikam", client_secret="wrong"))

    returned = try_out(browser, "fiona@fabrikam.example", provider=newest(contoso))
    page = browser.get(PAGE).content.decode()

    assert returned.headers["Location"] == PAGE
    assert "The test sign-in did not work. Nothing was changed." in page
    assert "Plan the change" not in page
    assert links(contoso) == set()


def test_what_was_not_tried_out_is_not_put_in_force(contoso, gina, greg):
    gina[0].post(PAGE, form("fabrikam"))
    provider = newest(contoso)
    try_out(greg[0], "frank@fabrikam.example", provider=provider)

    refused = press(gina[0], "put", provider)

    assert refused.status_code == 409
    assert newest(contoso).switch_at is None


def test_a_test_of_yesterday_does_not_count(contoso, gina):
    provider = prepared(contoso, gina)
    with tenant_atomic(contoso.pk):
        AccountLink.objects.update(proved_at=clock.now() - timedelta(hours=24, seconds=1))

    assert press(gina[0], "put", provider).status_code == 409


def test_nobody_links_themselves_with_the_person_of_somebody_else(contoso, gina, greg):
    provider = prepared(contoso, gina)

    returned = try_out(greg[0], "fiona@fabrikam.example", provider=provider)

    assert returned.headers["Location"] == PAGE
    assert "linked with another account" in greg[0].get(PAGE).content.decode()
    assert links(contoso) == {(gina[1].pk, subject_of("fiona@fabrikam.example"))}


def test_a_link_alone_begins_no_test(contoso, gina, greg):
    prepared(contoso, gina)

    for browser in (gina[0], greg[0]):
        assert browser.get(THERE).headers["Location"] == "/"


def test_each_button_needs_a_sign_in_of_the_last_minutes(contoso, gina):
    provider = prepared(contoso, gina)
    let_pass(gina[0], timedelta(minutes=6))

    for action in ("prepare", "test", "put", "confirm", "stop", "discard", "back"):
        assert press(gina[0], action, provider).status_code == 403
    assert newest(contoso).switch_at is None


def test_a_reader_sees_it_and_presses_nothing(contoso, gina):
    provider = prepared(contoso, gina)
    rhea = session_of(make_user(contoso, roles=("global_reader",)))

    assert rhea.get(PAGE).status_code == 200
    assert press(rhea, "discard", provider).status_code == 403
    assert newest(contoso).key == provider.key


def test_a_prepared_one_is_discarded(contoso, gina):
    provider = prepared(contoso, gina)

    press(gina[0], "discard", provider)

    assert [row.issuer for row in rows(contoso)] == [issuers()["contoso"]]
    assert links(contoso) == set()


# --- At once, where everybody stays the same --------------------------------------------------------------


def test_a_new_secret_is_tried_at_the_address_in_force_and_used_at_once(contoso, gina):
    browser, user = gina
    with tenant_atomic(contoso.pk):
        IdentityProvider.objects.update(client_secret_encrypted="")
    key = active(contoso).key
    browser.post(PAGE, form("contoso"))
    browser.post(PAGE, {"action": "test", "key": newest(contoso).key})
    location = browser.get(THERE).headers["Location"]
    choose(browser, location, "gina@contoso.example")

    done = press(browser, "put", newest(contoso))

    assert f"%2Faccounts%2Foidc%2F{key}%2Flogin%2Fcallback%2F" in location
    assert done.status_code == 303
    (row,) = rows(contoso)
    assert (row.key, row.is_active) == (key, True)
    assert decrypt(row.client_secret_encrypted) == client_of("contoso")[1]
    assert key_of(user) == (issuers()["contoso"], subject_of("gina@contoso.example"))
    assert browser.get(PAGE).status_code == 200
    assert codes(contoso)[-1] == "secret_changed"
    assert told(contoso) == [("provider_secret", user.pk)]


def test_another_client_that_names_the_admin_as_before_is_used_at_once(contoso, gina):
    browser, user = gina
    with tenant_atomic(contoso.pk):
        IdentityProvider.objects.update(client_id="the earlier client")
    browser.post(PAGE, form("contoso"))
    try_out(browser, "gina@contoso.example", provider=newest(contoso))
    page = browser.get(PAGE).content.decode()

    press(browser, "put", newest(contoso))

    assert "This is you: the same issuer and subject as until now" in page
    earlier, now_active = rows(contoso)
    assert (earlier.is_active, now_active.is_active, earlier.has_moved_people) == (False, True, False)
    assert browser.get(PAGE).status_code == 200
    assert told(contoso) == [("provider_client", user.pk)]


def test_another_client_that_names_the_admin_differently_waits_a_day(contoso, gina):
    browser, user = gina
    with tenant_atomic(contoso.pk):
        IdentityProvider.objects.update(client_id="the earlier client")
        User.objects.filter(pk=user.pk).update(subject="as the earlier client calls her")
    browser.post(PAGE, form("contoso"))
    try_out(browser, "gina@contoso.example", provider=newest(contoso))

    press(browser, "put", newest(contoso))

    assert newest(contoso).switch_at is not None
    assert not newest(contoso).is_active


# --- Planned, confirmed, in force -------------------------------------------------------------------------


@swept
def test_another_issuer_comes_into_force_a_day_later_and_who_proved_both_goes_along(contoso, gina, greg):
    _browser, pat = signed_in(contoso, "pat@contoso.example")

    provider = planned(contoso, gina)
    seen = greg[0].get(PAGE).content.decode()
    confirmed = press(greg[0], "confirm", provider)
    early = make_due_changes(at=provider.switch_at - timedelta(seconds=1))
    still = active(contoso).issuer
    due = make_due_changes(at=provider.switch_at)
    again = make_due_changes(at=provider.switch_at + timedelta(hours=1))

    assert provider.switch_at - provider.planned_at == NOTICE
    assert "A change is waiting" in seen
    assert "Confirm the change" in seen
    assert confirmed.status_code == 303
    assert (early, due, again) == (0, 1, 0)
    assert (still, active(contoso).issuer) == (issuers()["contoso"], issuers()["fabrikam"])
    assert key_of(gina[1]) == (issuers()["fabrikam"], subject_of("fiona@fabrikam.example"))
    assert key_of(pat) == (issuers()["contoso"], subject_of("pat@contoso.example"))
    assert gina[0].get("/my/licenses/").status_code == 302
    assert codes(contoso)[-4:] == ["tested", "planned", "confirmed", "configured"]
    whats = [what for what, _reader in told(contoso)]
    assert whats == ["provider_planned"] * 2 + ["provider_confirmed"] * 2 + ["provider_switched"] * 2


@swept
def test_the_planner_comes_back_as_themselves_and_a_mail_matches_nobody(contoso, gina, greg):
    switched(contoso, gina, greg)

    found = create_member_at_sign_in(
        tenant_id=contoso.pk,
        issuer=issuers()["fabrikam"],
        subject=subject_of("fiona@fabrikam.example"),
        name="Fiona",
        email="fiona@fabrikam.example",
        at=clock.now(),
    )
    stranger = create_member_at_sign_in(
        tenant_id=contoso.pk,
        issuer=issuers()["fabrikam"],
        subject="somebody else",
        name="Greg",
        email="greg@contoso.example",
        at=clock.now(),
    )

    assert found.pk == gina[1].pk
    assert stranger.pk not in (gina[1].pk, greg[1].pk)
    with tenant_atomic(contoso.pk):
        assert not RoleAssignment.objects.filter(user=stranger).exists()


@swept
def test_nothing_comes_into_force_unconfirmed_and_after_two_weeks_it_is_given_up(contoso, gina, greg):
    provider = planned(contoso, gina)

    day = make_due_changes(at=provider.switch_at)
    later = make_due_changes(at=provider.planned_at + LAPSES - timedelta(seconds=1))
    still = newest(contoso).switch_at
    make_due_changes(at=provider.planned_at + LAPSES)

    assert (day, later) == (0, 0)
    assert still == provider.switch_at
    assert newest(contoso).switch_at is None
    assert active(contoso).issuer == issuers()["contoso"]
    assert [what for what, _reader in told(contoso)][-2:] == ["provider_lapsed"] * 2


def test_who_planned_it_does_not_confirm_it_nor_an_admin_made_since(contoso, gina, greg):
    provider = planned(contoso, gina)
    late = make_user(contoso, roles=("global_admin",))
    with tenant_atomic(contoso.pk):
        RoleAssignment.objects.filter(user=late).update(granted_at=provider.planned_at + timedelta(seconds=1))

    for browser in (gina[0], session_of(late)):
        assert press(browser, "confirm", provider).status_code == 409
    assert newest(contoso).confirmed_by == ""


@swept
def test_staff_confirm_only_where_there_is_no_second_admin(contoso, gina, greg, at):
    provider = planned(contoso, gina)
    staff = Actor.system(contoso.pk, label="Sven", door="cli")
    with pytest.raises(SecondAdminNeeded):
        confirm_change(actor=staff, key=provider.key, at=at)
    with tenant_atomic(contoso.pk):
        RoleAssignment.objects.filter(user=greg[1]).delete()

    page = gina[0].get(PAGE).content.decode()
    confirm_change(actor=staff, key=provider.key, at=at)

    assert "the vendor's staff confirm it" in page
    assert newest(contoso).confirmed_by == "Sven"
    assert make_due_changes(at=provider.switch_at) == 1


@swept
def test_any_global_admin_stops_it_also_when_it_is_confirmed(contoso, gina, greg):
    provider = planned(contoso, gina)
    press(greg[0], "confirm", provider)

    stopped = press(greg[0], "stop", provider)

    assert stopped.status_code == 303
    row = newest(contoso)
    assert (row.switch_at, row.confirmed_by, row.planned_by) == (None, "", "")
    assert make_due_changes(at=provider.switch_at) == 0
    assert codes(contoso)[-1] == "stopped"
    assert [what for what, _reader in told(contoso)][-2:] == ["provider_stopped"] * 2


def test_one_change_waits_at_a_time(contoso, gina, greg):
    planned(contoso, gina)

    refused = greg[0].post(PAGE, form("northwind"))

    assert refused.status_code == 409
    assert len(rows(contoso)) == 2


@swept
def test_the_plan_of_who_is_no_admin_any_more_is_given_up(contoso, gina, greg, at):
    provider = planned(contoso, gina)
    press(greg[0], "confirm", provider)
    revoke_role(
        actor=actor_of(greg[1]), user_id=gina[1].pk, role="global_admin", reason="She went too far", at=at
    )

    assert make_due_changes(at=provider.switch_at) == 0
    assert newest(contoso).switch_at is None
    assert active(contoso).issuer == issuers()["contoso"]
    assert told(contoso)[-1] == ("provider_dropped", greg[1].pk)


@swept
def test_one_that_does_not_answer_is_held_up_told_once_and_tried_again(contoso, gina, greg):
    provider = planned(contoso, gina)
    press(greg[0], "confirm", provider)
    with tenant_atomic(contoso.pk):
        IdentityProvider.objects.filter(pk=provider.pk).update(issuer="http://127.0.0.1:9")
    due = provider.switch_at

    away = [make_due_changes(at=due + timedelta(minutes=minute)) for minute in range(3)]
    page = greg[0].get(PAGE).content.decode()
    with tenant_atomic(contoso.pk):
        IdentityProvider.objects.filter(pk=provider.pk).update(issuer=provider.issuer)
    back = make_due_changes(at=due + timedelta(hours=1))

    assert (away, back) == ([0, 0, 0], 1)
    assert "and does not answer" in page
    assert codes(contoso)[-2:] == ["held_up", "configured"]
    assert [what for what, _reader in told(contoso)].count("provider_held_up") == 2


# --- Who goes along ---------------------------------------------------------------------------------------


@swept
def test_a_member_makes_the_own_account_go_along_while_a_change_waits(contoso, gina, greg):
    browser, pat = signed_in(contoso, "pat@contoso.example")
    before = browser.get(CONNECT).content.decode()
    provider = planned(contoso, gina)

    returned = try_out(browser, "frank@fabrikam.example", page=CONNECT)
    page = browser.get(CONNECT).content.decode()
    press(greg[0], "confirm", provider)
    make_due_changes(at=provider.switch_at)

    assert "Nothing to do" in before
    assert returned.headers["Location"] == CONNECT
    assert "Done: your account goes along" in page
    assert key_of(pat) == (issuers()["fabrikam"], subject_of("frank@fabrikam.example"))


def test_a_member_tries_out_nothing_that_is_only_prepared(contoso, gina):
    browser, _pat = signed_in(contoso, "pat@contoso.example")
    prepared(contoso, gina)

    browser.post(CONNECT)

    assert browser.get(THERE).headers["Location"] == "/"
    assert browser.get(PAGE).status_code == 404


def sign_in_there(contoso, subject, at):
    return create_member_at_sign_in(
        tenant_id=contoso.pk,
        issuer=issuers()["fabrikam"],
        subject=subject,
        name="Mike",
        email="mike@contoso.example",
        external_ids=(subject,),
        at=at,
    )


@swept
def test_whom_the_directory_names_comes_along_at_the_first_sign_in_and_goes_back(contoso, gina, greg):
    mike = make_user(contoso, issuer=issuers()["contoso"], subject="old", external_id="new")
    at = switched(contoso, gina, greg)

    found = sign_in_there(contoso, "new", at + timedelta(days=1))
    there = key_of(mike)
    go_back(actor=Actor.system(contoso.pk), at=at + timedelta(days=2))

    assert found.pk == mike.pk
    assert there == (issuers()["fabrikam"], "new")
    assert key_of(mike) == (issuers()["contoso"], "old")


@swept
def test_who_came_along_is_not_claimed_again_by_another_external_id(contoso, gina, greg):
    mike = make_user(contoso, issuer=issuers()["contoso"], subject="old", external_id="new")
    at = switched(contoso, gina, greg)
    sign_in_there(contoso, "new", at)
    with tenant_atomic(contoso.pk):
        User.objects.filter(pk=mike.pk).update(external_id="of somebody else")

    assert sign_in_there(contoso, "of somebody else", at).pk != mike.pk
    assert key_of(mike) == (issuers()["fabrikam"], "new")


@swept
def test_an_admin_is_never_claimed_by_an_external_id(contoso, gina, greg):
    lisa = make_user(
        contoso,
        issuer=issuers()["contoso"],
        subject="old",
        external_id="new",
        roles=("license_admin",),
    )
    at = switched(contoso, gina, greg)

    assert sign_in_there(contoso, "new", at).pk != lisa.pk
    assert key_of(lisa) == (issuers()["contoso"], "old")


@swept
def test_before_the_change_and_a_month_after_nobody_is_claimed(contoso, gina, greg):
    mike = make_user(contoso, issuer=issuers()["contoso"], subject="old", external_id="new")
    set_member_creation(actor=Actor.system(contoso.pk), is_on=False, at=AT)

    with pytest.raises(AccountUnknown):
        sign_in_there(contoso, "new", clock.now())
    at = switched(contoso, gina, greg)
    with pytest.raises(AccountUnknown):
        sign_in_there(contoso, "new", at + timedelta(days=30))

    assert key_of(mike) == (issuers()["contoso"], "old")


def test_a_deleted_account_keeps_no_link(contoso, gina, greg):
    browser, pat = signed_in(contoso, "pat@contoso.example")
    planned(contoso, gina)
    try_out(browser, "frank@fabrikam.example", page=CONNECT)

    delete_user(actor=actor_of(gina[1]), user_id=pat.pk, at=clock.now(), real_at=clock.real_now())

    assert links(contoso) == {(gina[1].pk, subject_of("fiona@fabrikam.example"))}


# --- The way back -----------------------------------------------------------------------------------------


@swept
def test_within_three_days_one_admin_goes_back_at_once_and_everybody_is_who_they_were(contoso, gina, greg):
    _browser, pat = signed_in(contoso, "pat@contoso.example")
    at = switched(contoso, gina, greg)

    go_back(actor=actor_of(gina[1]), at=at + UNDO)

    assert active(contoso).issuer == issuers()["contoso"]
    assert key_of(gina[1]) == (issuers()["contoso"], subject_of("gina@contoso.example"))
    assert key_of(pat) == (issuers()["contoso"], subject_of("pat@contoso.example"))
    assert told(contoso)[-1][0] == "provider_switched"
    browser = Client()
    sign_in(browser, "gina@contoso.example")
    assert browser.session[USER] == gina[1].pk


@swept
def test_later_staff_alone_go_back_at_once_and_after_thirty_days_nobody(contoso, gina, greg):
    at = switched(contoso, gina, greg)
    with pytest.raises(TooLateToUndo):
        go_back(actor=actor_of(gina[1]), at=at + UNDO + timedelta(seconds=1))
    with pytest.raises(NotVisible):
        go_back(actor=Actor.system(contoso.pk), at=at + timedelta(days=30))
    still = active(contoso).issuer

    go_back(actor=Actor.system(contoso.pk), at=at + timedelta(days=30, seconds=-1))

    assert still == issuers()["fabrikam"]
    assert active(contoso).issuer == issuers()["contoso"]


@swept
def test_nobody_goes_back_to_what_does_not_answer(contoso, gina, greg):
    at = switched(contoso, gina, greg)
    with tenant_atomic(contoso.pk):
        IdentityProvider.objects.filter(is_active=False).update(issuer="http://127.0.0.1:9")

    with pytest.raises(ProviderAway):
        go_back(actor=actor_of(gina[1]), at=at)
    assert active(contoso).issuer == issuers()["fabrikam"]


@swept
def test_the_secret_of_one_that_ended_is_forgotten_after_thirty_days(contoso, gina, greg):
    at = switched(contoso, gina, greg)

    make_due_changes(at=at + timedelta(days=30, seconds=-1))
    kept = rows(contoso)[0].client_secret_encrypted
    make_due_changes(at=at + timedelta(days=30))

    assert decrypt(kept) == client_of("contoso")[1]
    assert [bool(row.client_secret_encrypted) for row in rows(contoso)] == [False, True]


# --- Doors ------------------------------------------------------------------------------------------------


@swept
def test_only_an_admin_and_only_the_installation_have_their_own_doors(contoso, gina, at):
    member = actor_of(make_user(contoso))
    client_id, secret = client_of("fabrikam")
    facts = {"issuer": issuers()["fabrikam"], "client_id": client_id, "client_secret": secret, "at": at}

    with pytest.raises(NotVisible):
        prepare_provider(actor=member, **facts)
    with pytest.raises(NotVisible):
        put_in_force(actor=member, key=active(contoso).key, at=at)
    with pytest.raises(NotVisible):
        stop_change(actor=member, key="", at=at)
    with pytest.raises(NotAllowed):
        configure_identity_provider(actor=actor_of(gina[1]), **facts)
    assert len(rows(contoso)) == 1


def run(*arguments):
    out = StringIO()
    call_command("identity_provider", *arguments, stdout=out)
    return out.getvalue()


@swept
def test_the_vendors_command_lists_confirms_and_goes_back(contoso, gina):
    provider = planned(contoso, gina)

    listed = run("waiting")
    confirmed = run("confirm", "contoso.example", "--by", "Sven, called back")
    make_due_changes(at=provider.switch_at)
    back = run("back", "contoso.example", "--by", "Sven, called back")

    assert "planned by Gina" in listed
    assert "not confirmed" in listed
    assert "1 waiting." in listed
    assert "Confirmed: the change to" in confirmed
    assert f"People sign in at {issuers()['contoso']} again." in back
    with tenant_atomic(contoso.pk):
        entry = AuditEntry.objects.get(code="directory.identity_provider.confirmed")
    assert (entry.actor_label, entry.door) == ("Sven, called back", "cli")


@pytest.mark.parametrize(
    "arguments",
    [
        ("confirm", "contoso.example", "--by", "Sven"),
        ("confirm", "contoso.example"),
        ("confirm", "nobody.example", "--by", "Sven"),
        ("back", "contoso.example", "--by", "Sven"),
    ],
)
@swept
def test_the_vendors_command_says_what_it_cannot_do(contoso, gina, arguments):
    with pytest.raises(CommandError):
        run(*arguments)


def test_a_worker_looks_every_minute():
    assert schedule()["directory.change_providers"]["schedule"] == 60.0
