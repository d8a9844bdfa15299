"""`ScopedModelAdmin` closes what `get_queryset` alone leaves open (reliability §1 fact 1, §5.5).

Every test runs twice: under row-level security, and by a login that no policy holds back, so that the base class
is seen to hold alone.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.test import Client
from django.test.utils import isolate_apps

from config.kit import admin as kit_admin
from config.kit.admin import ScopedModelAdmin
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import Group, GroupMembership, Tenant, User
from tests.admin import trial_site
from tests.admin.conftest import SignIn
from tests.factories import actor_of, make_tenant, make_user

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"]),
    pytest.mark.urls("tests.admin.trial_site"),
]

GROUPS = "/trial/directory/group/"
MEMBERSHIPS = "/trial/directory/groupmembership/"
FOREIGN = "ZQ-B"


class World:
    """Contoso with a group and a member; Fabrikam with the same, every text of it marked."""

    def __init__(self) -> None:
        self.contoso = make_tenant(name="Contoso")
        self.gina = make_user(self.contoso, name="Gina", roles=("global_admin",))
        self.erik = make_user(self.contoso, name="Erik")
        self.group, self.membership = self._group(self.contoso, "Finance", self.gina)
        self.fabrikam = make_tenant(name=f"{FOREIGN}-tenant")
        self.fiona = make_user(self.fabrikam, name=f"{FOREIGN}-user", roles=("global_admin",))
        self.foreign_group, self.foreign_membership = self._group(
            self.fabrikam, f"{FOREIGN}-group", self.fiona
        )

    def _group(self, tenant: Tenant, name: str, user: User) -> tuple[Group, GroupMembership]:
        with tenant_atomic(tenant.pk):
            group = Group.objects.create(tenant=tenant, name=name)
            return group, GroupMembership.objects.create(tenant=tenant, group=group, user=user)

    def rows(self, tenant: Tenant) -> list[tuple[Any, ...]]:
        with tenant_atomic(tenant.pk):
            groups = Group.objects.filter(tenant=tenant).order_by("pk").values_list("pk", "name", "tenant_id")
            members = GroupMembership.objects.filter(tenant=tenant).order_by("pk")
            users = User.objects.filter(tenant=tenant).order_by("pk").values_list("pk", "name", "email")
            return [*groups, *members.values_list("pk", "group_id", "user_id", "tenant_id"), *users]


@pytest.fixture(params=["default", "owner"], ids=["walled", "wall-off"], autouse=True)
def login(request: pytest.FixtureRequest) -> Iterator[str]:
    with use_login(request.param):
        yield request.param


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def gina(world: World, sign_in: SignIn) -> Client:
    trial_site.recorded.clear()
    return sign_in(world.gina)


def formset(*rows: dict[str, Any], total: int | None = None, initial: int = 0) -> dict[str, Any]:
    data: dict[str, Any] = {
        "memberships-TOTAL_FORMS": len(rows) if total is None else total,
        "memberships-INITIAL_FORMS": initial,
    }
    for number, row in enumerate(rows):
        data |= {f"memberships-{number}-{name}": value for name, value in row.items()}
    return data


# --- 1 Reading --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        GROUPS,
        f"{GROUPS}add/",
        f"{GROUPS}?q=Z",
        MEMBERSHIPS,
        f"{MEMBERSHIPS}add/",
        "/trial/directory/user/",
        "/trial/autocomplete/?app_label=directory&model_name=groupmembership&field_name=user&term=Z",
        "/trial/autocomplete/?app_label=directory&model_name=groupmembership&field_name=user&term=",
    ],
)
def test_no_page_names_a_foreign_row(gina: Client, address: str):
    response = gina.get(address)

    assert response.status_code == 200
    assert FOREIGN not in response.text


def test_own_pages_name_own_rows(gina: Client, world: World):
    """Surfaces 1 to 4 are open to own rows: select, inline, filter, autocomplete."""
    change = gina.get(f"{GROUPS}{world.group.pk}/change/").text

    assert "Finance" in gina.get(GROUPS).text
    assert f'<option value="{world.group.pk}">Finance</option>' in gina.get(f"{MEMBERSHIPS}add/").text
    assert "Erik" in change
    assert FOREIGN not in change
    assert (
        "Erik"
        in gina.get(
            "/trial/autocomplete/?app_label=directory&model_name=groupmembership&field_name=user&term=erik"
        ).text
    )


def test_a_filter_lists_own_rows_and_finds_nothing_by_a_foreign_one(gina: Client, world: World):
    own = gina.get(f"{MEMBERSHIPS}?group__id__exact={world.group.pk}")
    foreign = gina.get(f"{MEMBERSHIPS}?group__id__exact={world.foreign_group.pk}")

    assert own.context["cl"].result_count == 1
    assert foreign.context["cl"].result_count == 0
    assert FOREIGN not in foreign.text


@pytest.mark.parametrize(
    "lookup", ["user__email__startswith=Z", "tenant__name=Contoso", "group__tenant__name=x"]
)
def test_lookups_that_no_filter_declares_are_refused(gina: Client, lookup: str):
    assert gina.get(f"{MEMBERSHIPS}?{lookup}").status_code in (302, 400)


@pytest.mark.parametrize("tail", ["change/", "delete/", "history/", ""])
@pytest.mark.parametrize("kind", ["group", "groupmembership"])
def test_foreign_and_missing_answer_byte_for_byte_alike(gina: Client, world: World, kind: str, tail: str):
    foreign_row = world.foreign_group if kind == "group" else world.foreign_membership

    foreign = gina.get(f"/trial/directory/{kind}/{foreign_row.pk}/{tail}")
    missing = gina.get(f"/trial/directory/{kind}/999999999/{tail}")

    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert foreign.content == missing.content
    assert dict(foreign.headers) == dict(missing.headers)


def test_there_is_no_redirect_to_an_objects_address(gina: Client, world: World):
    from django.contrib.contenttypes.models import ContentType

    content_type = ContentType.objects.get_for_model(Group)

    assert gina.get(f"/trial/r/{content_type.pk}/{world.foreign_group.pk}/").status_code == 404
    assert gina.get(f"/trial/r/{content_type.pk}/{world.group.pk}/").status_code == 404


def test_there_is_no_history(gina: Client, world: World):
    assert gina.get(f"{GROUPS}{world.group.pk}/history/").status_code == 404


@pytest.mark.parametrize(
    "address", [f"{GROUPS}add/?_popup=1", f"{GROUPS}?_popup=1", f"{MEMBERSHIPS}add/?_to_field=id&_popup=1"]
)
def test_there_are_no_windows(gina: Client, address: str):
    assert gina.get(address).status_code == 404


# --- 2 Writing --------------------------------------------------------------------------------------------


def test_adds_and_changes_in_the_own_tenant(gina: Client, world: World):
    """The add form has no tenant; the row gets the actor's."""
    added = gina.post(f"{GROUPS}add/", {"name": "Sales", **formset({"user": world.erik.pk})})
    changed = gina.post(f"{GROUPS}{world.group.pk}/change/", {"name": "Money", **formset()})

    rows = world.rows(world.contoso)
    assert (added.status_code, changed.status_code) == (302, 302)
    assert sorted(row[1] for row in rows if row[-1] == world.contoso.pk and len(row) == 3) == [
        "Money",
        "Sales",
    ]
    assert sum(len(row) == 4 and row[2] == world.erik.pk for row in rows) == 1
    assert trial_site.recorded == [("added", "Sales"), ("changed", "Money")]


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda w: {"group": w.foreign_group.pk, "user": w.erik.pk}, id="select"),
        pytest.param(lambda w: {"group": w.group.pk, "user": w.fiona.pk}, id="autocomplete"),
    ],
)
@pytest.mark.parametrize("page", ["add", "change"])
def test_a_posted_foreign_key_is_an_error(gina: Client, world: World, form: Any, page: str):
    before = world.rows(world.contoso), world.rows(world.fabrikam)
    address = f"{MEMBERSHIPS}add/" if page == "add" else f"{MEMBERSHIPS}{world.membership.pk}/change/"

    response = gina.post(address, form(world))

    assert response.status_code == 200
    assert response.context["errors"]
    assert FOREIGN not in response.text
    assert (world.rows(world.contoso), world.rows(world.fabrikam)) == before


@pytest.mark.parametrize("page", ["add/", "{}/change/"])
def test_a_posted_tenant_is_not_read(gina: Client, world: World, page: str):
    before = world.rows(world.fabrikam)

    response = gina.post(
        GROUPS + page.format(world.group.pk),
        {"name": "Sales", "tenant": world.fabrikam.pk, "tenant_id": world.fabrikam.pk, **formset()},
    )

    assert response.status_code == 302
    assert world.rows(world.fabrikam) == before
    assert "Sales" in [row[1] for row in world.rows(world.contoso)]


@pytest.mark.parametrize(
    "posted",
    [
        pytest.param(lambda w: formset({"user": w.fiona.pk}), id="foreign-user"),
        pytest.param(
            lambda w: formset(
                {"id": w.foreign_membership.pk, "group": w.group.pk, "user": w.erik.pk}, initial=1
            ),
            id="foreign-row",
        ),
        pytest.param(
            lambda w: formset(
                {
                    "id": w.foreign_membership.pk,
                    "group": w.foreign_group.pk,
                    "user": w.gina.pk,
                    "DELETE": "on",
                },
                initial=1,
            ),
            id="foreign-row-deleted",
        ),
        pytest.param(lambda w: formset(total=1, initial=1), id="row-without-id"),
        pytest.param(lambda w: formset(total=5, initial=5), id="more-rows-than-there-are"),
        pytest.param(
            lambda w: {"memberships-TOTAL_FORMS": "x", "memberships-INITIAL_FORMS": "-1"}, id="no-numbers"
        ),
        pytest.param(lambda w: {}, id="no-management-form"),
    ],
)
def test_a_forged_inline_changes_nothing(gina: Client, world: World, posted: Any):
    before = world.rows(world.contoso), world.rows(world.fabrikam)

    response = gina.post(f"{GROUPS}{world.group.pk}/change/", {"name": "Money", **posted(world)})

    assert response.status_code in (200, 400)
    assert FOREIGN not in response.text
    assert (world.rows(world.contoso), world.rows(world.fabrikam)) == before


@pytest.mark.parametrize("address", ["change/", "delete/"])
def test_a_foreign_object_cannot_be_posted_to(gina: Client, world: World, address: str):
    before = world.rows(world.fabrikam)

    response = gina.post(
        f"{GROUPS}{world.foreign_group.pk}/{address}", {"post": "yes", "name": "Mine", **formset()}
    )

    assert response.status_code == 404
    assert world.rows(world.fabrikam) == before


def test_bulk_actions_are_not_offered(gina: Client, world: World):
    before = world.rows(world.contoso), world.rows(world.fabrikam)

    gina.post(
        GROUPS,
        {
            "action": "delete_selected",
            "_selected_action": [world.group.pk, world.foreign_group.pk],
            "post": "yes",
        },
    )

    assert (world.rows(world.contoso), world.rows(world.fabrikam)) == before


def test_deletes_an_own_row_with_its_dependants(gina: Client, world: World):
    response = gina.post(f"{GROUPS}{world.group.pk}/delete/", {"post": "yes"})

    assert response.status_code == 302
    assert world.group.pk not in [row[0] for row in world.rows(world.contoso) if len(row) == 3]
    assert trial_site.recorded == [("deleted", "Finance")]


def test_deleting_never_takes_a_foreign_row_along(
    gina: Client, world: World, monkeypatch: pytest.MonkeyPatch
):
    """The composite key keeps such a row from being written, so the row is only made to look foreign."""
    seen = kit_admin.scoped
    monkeypatch.setattr(
        kit_admin,
        "scoped",
        lambda model, request: (
            seen(model, request).none() if model is GroupMembership else seen(model, request)
        ),
    )
    before = world.rows(world.contoso)

    page = gina.get(f"{GROUPS}{world.group.pk}/delete/")
    response = gina.post(f"{GROUPS}{world.group.pk}/delete/", {"post": "yes"})

    assert (page.status_code, response.status_code) == (403, 403)
    assert world.rows(world.contoso) == before


# --- 3 Who ------------------------------------------------------------------------------------------------


def test_who_only_sees_does_not_change(world: World, sign_in: SignIn):
    reader = sign_in(make_user(world.contoso, roles=("global_reader",)))
    before = world.rows(world.contoso)

    assert reader.get(GROUPS).status_code == 200
    assert reader.get(f"{GROUPS}add/").status_code == 403
    assert reader.post(f"{GROUPS}{world.group.pk}/change/", {"name": "x", **formset()}).status_code == 403
    assert reader.post(f"{GROUPS}{world.group.pk}/delete/", {"post": "yes"}).status_code == 403
    assert world.rows(world.contoso) == before


def test_who_does_not_see_finds_nothing(world: World, sign_in: SignIn):
    member = sign_in(world.erik)

    for address in (
        GROUPS,
        f"{GROUPS}add/",
        f"{GROUPS}{world.group.pk}/change/",
        "/trial/autocomplete/",
        "/trial/",
    ):
        assert member.get(address).status_code == 404


# --- 4 Declarations ---------------------------------------------------------------------------------------


def test_many_to_many_choices_are_the_actors(world: World, rf: Any):
    request = rf.get("/")
    request.actor = actor_of(world.gina)
    with isolate_apps("directory"):

        class Club(models.Model):  # noqa: DJ008
            members = models.ManyToManyField(User, related_name="+")

            class Meta:
                app_label = "directory"

        field = trial_site.GroupAdmin(Group, trial_site.site).formfield_for_manytomany(
            Club._meta.get_field("members"), request
        )
    with tenant_atomic(world.contoso.pk):
        chosen = set(field.queryset)

    assert world.erik in chosen
    assert world.fiona not in chosen


@pytest.mark.parametrize("option", ["list_editable", "raw_id_fields"])
def test_options_that_cannot_be_scoped_are_refused(option: str):
    careless = type("Careless", (trial_site.MembershipAdmin,), {option: ("user",), "autocomplete_fields": ()})

    with pytest.raises(ImproperlyConfigured):
        careless(GroupMembership, trial_site.site)


def test_a_filter_over_two_relations_is_refused(world: World, rf: Any):
    careless = type("Careless", (trial_site.MembershipAdmin,), {"list_filter": ("group__tenant",)})
    request = rf.get("/")
    request.actor = actor_of(world.gina)

    with pytest.raises(TypeError):
        careless(GroupMembership, trial_site.site).get_list_filter(request)


def test_a_model_page_must_say_how_changes_are_recorded(world: World, rf: Any):
    with pytest.raises(NotImplementedError):
        ScopedModelAdmin(Group, trial_site.site).log_addition(rf.get("/"), world.group, "")
