"""Views of a list that a person keeps under a name (product §8)."""

from django.db import models

from config.kit.actors import Actor
from config.kit.tenancy import ScopedQuerySet, TenantModel


class SavedViewQuerySet(ScopedQuerySet):
    def visible_to(self, actor: Actor) -> "SavedViewQuerySet":
        """The actor's own, of the acting tenant."""
        return self.filter(tenant_id=actor.tenant_id, user_id=actor.user_id)


class SavedView(TenantModel):
    """A filter of Your products that one person keeps under a name; `query` is the address's part after the `?`.

    `user_id` is plain: a partner's user belongs to another tenant.
    """

    user_id = models.BigIntegerField()
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=1000)
    created_at = models.DateTimeField()

    objects = SavedViewQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["tenant", "user_id", "name"], name="commerce_savedview_name"),
        ]

    def __str__(self) -> str:
        return self.name
