"""What a tenant allows to be done with the data in its products (product §14; docs/data.md)."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from django.db.models import Q

from config.kit.actors import Actor
from directory.models import GroupMembership
from policies import data_rule
from policies.data_rule import Said, effective
from policies.models import DataPolicy


@dataclass(frozen=True, slots=True)
class DataPolicies:
    """Everything that the tenant has said, by product (None: every product); of the groups by their ids, too."""

    everybody: Mapping[int | None, Said]
    groups: Mapping[int | None, Mapping[int, Said]]

    def of(self, product_id: int, group_ids: Collection[int] = ()) -> data_rule.DataPolicy:
        """What holds for a product: for everybody, or for a person of these groups."""
        return effective(self._applying(product_id, group_ids))

    def inherited(self) -> data_rule.DataPolicy:
        """What would hold for everybody if nothing were said of the product itself."""
        return effective([self.everybody[None]] if None in self.everybody else [])

    def is_off(self, product_id: int) -> bool:
        """Whether the product is switched off for everybody who is in no group with another rule."""
        return not self.of(product_id).service_on

    def off(self, product_ids: Iterable[int]) -> frozenset[int]:
        """Those of the products that are switched off, as `is_off` has it."""
        return frozenset(each for each in product_ids if self.is_off(each)) if self.everybody else frozenset()

    def is_off_for_all(self, product_id: int) -> bool:
        """Whether nobody at all may use the product: off, and no group has it on."""
        on_for_a_group = any(
            said.service_on for key in (None, product_id) for said in self.groups.get(key, {}).values()
        )
        return self.is_off(product_id) and not on_for_a_group

    def _applying(self, product_id: int, group_ids: Collection[int]) -> list[Said]:
        found = [self.everybody[key] for key in (None, product_id) if key in self.everybody]
        for key in (None, product_id):
            rules = self.groups.get(key, {})
            found += [rules[each] for each in group_ids if each in rules]
        return found


def data_policies(*, actor: Actor, product_ids: Collection[int] | None = None) -> DataPolicies:
    """What the acting tenant has said, of these products or of all. One query."""
    rows = DataPolicy.objects.visible_to(actor).select_related("group")
    if product_ids is not None:
        rows = rows.filter(Q(product_id=None) | Q(product_id__in=product_ids))
    everybody: dict[int | None, Said] = {}
    groups: dict[int | None, dict[int, Said]] = {}
    for row in rows:
        if row.group_id is None:
            everybody[row.product_id] = said_in(row)
        else:
            groups.setdefault(row.product_id, {})[row.group_id] = said_in(row)
    return DataPolicies(everybody, groups)


def said_in(row: DataPolicy) -> Said:
    """What one row says."""
    return Said(
        product_id=row.product_id,
        group=row.group.name if row.group is not None else "",
        service_on=row.service_on,
        external_sharing=row.external_sharing,
        retention_days=row.retention_days,
        creators=row.creators or None,
    )


def data_policy_for(*, actor: Actor, product_id: int, user_id: int | None) -> data_rule.DataPolicy:
    """What holds for a person and a product; for nobody in particular, what holds without groups. Two queries at most."""
    said = data_policies(actor=actor, product_ids=[product_id])
    groups = _groups_of(actor, [user_id] if user_id else [], said)
    return said.of(product_id, groups.get(user_id or 0, ()))


def products_off_for(*, actor: Actor, product_ids: Collection[int]) -> set[int]:
    """Which of the products are switched off for the acting person. Two queries at most."""
    if not product_ids:
        return set()
    said = data_policies(actor=actor, product_ids=product_ids)
    user_id = 0 if actor.is_partner else actor.user_id or 0
    groups = _groups_of(actor, [user_id], said).get(user_id, ())
    return {each for each in product_ids if not said.of(each, groups).service_on}


def switched_off_for(*, actor: Actor, product_id: int, user_ids: Iterable[int]) -> set[int]:
    """Which of the people may not use the product, since it is switched off for them. Two queries at most."""
    said = data_policies(actor=actor, product_ids=[product_id])
    wanted = list(user_ids)
    groups = _groups_of(actor, wanted, said)
    return {each for each in wanted if not said.of(product_id, groups.get(each, ())).service_on}


def _groups_of(actor: Actor, user_ids: Collection[int], said: DataPolicies) -> dict[int, list[int]]:
    """The groups with rules of each person; no query where no group has any."""
    ruled = {each for rules in said.groups.values() for each in rules}
    if not ruled or not user_ids:
        return {}
    rows = GroupMembership.objects.filter(
        tenant_id=actor.tenant_id, user_id__in=user_ids, group_id__in=ruled
    ).values_list("user_id", "group_id")
    found: dict[int, list[int]] = {}
    for user_id, group_id in rows:
        found.setdefault(user_id, []).append(group_id)
    return found
