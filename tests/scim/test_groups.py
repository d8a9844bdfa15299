"""What hangs on a group that a directory fills and deletes: licenses and policy exceptions."""

from datetime import timedelta

import pytest

from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, Group
from licensing.models import Assignment, GroupLicense
from licensing.operations.groups import assign_group, even_out_groups, follow_groups
from policies.models import GroupPolicy, PolicyChange
from policies.operations import policies
from tests.factories import actor_of, make_central_subscription
from tests.scim.directory import Directory

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])


def holders(directory: Directory) -> set[str]:
    with tenant_atomic(directory.tenant.pk):
        rows = Assignment.objects.filter(ended_at__isnull=True).values_list("user__key", flat=True)
        return {str(key) for key in rows}


def test_licenses_of_a_group_follow_whom_the_directory_puts_in_and_takes_out(contoso: Directory) -> None:
    at = now()
    people = [contoso.made(userName=f"{name}@x.example", externalId=name, emails=[])["id"] for name in "abc"]
    group = contoso.made_group("Team", people[0], people[1])["id"]
    subscription = make_central_subscription(contoso.gina, quantity=5, at=at)
    assign_group(
        actor=actor_of(contoso.gina), subscription_key=subscription.key, group_key=contoso_key(group), at=at
    )
    before = holders(contoso)

    contoso.patch(
        f"/Groups/{group}",
        {"op": "Add", "path": "members", "value": [{"value": people[2]}]},
        {"op": "Remove", "path": f'members[value eq "{people[0]}"]'},
    )
    follow_groups(at=at + timedelta(minutes=1))
    after = holders(contoso)
    contoso.delete(f"/Groups/{group}")
    even_out_groups(at=at + timedelta(minutes=2))

    assert (before, after) == ({people[0], people[1]}, {people[1], people[2]})
    assert holders(contoso) == set()
    with tenant_atomic(contoso.tenant.pk):
        left = GroupLicense.objects.get()
    assert (left.group_id, left.group_name, left.ended_at is not None) == (None, "Team", True)


def contoso_key(text: str):
    import uuid

    return uuid.UUID(text)


def test_the_policy_exceptions_of_a_deleted_group_end_with_a_line_in_the_history(contoso: Directory) -> None:
    group = contoso.made_group("Makers")["id"]
    with tenant_atomic(contoso.tenant.pk):
        row = Group.objects.get(key=group)
    policies.change_policies(
        actor=actor_of(contoso.gina),
        changes=[policies.of_group(row.pk, "Disabled", level="tenant", name="Makers")],
        at=now(),
    )

    answer = contoso.delete(f"/Groups/{group}")

    assert answer.status_code == 204
    with tenant_atomic(contoso.tenant.pk):
        assert not GroupPolicy.objects.exists()
        last = PolicyChange.objects.order_by("-id")[0]
        entry = AuditEntry.objects.filter(code="policies.group_policy.changed").order_by("-id")[0]
    assert (last.group_name, last.before, last.after) == ("Makers", {"value": "Disabled"}, {"value": None})
    assert (last.door, last.actor_label[:6], entry.door) == ("scim", "Job (…", "scim")
