"""As whom people are known at the identity providers of their organization."""

from django.db import models

from config.kit.tenancy import SameTenant, TenantModel


class AccountLink(TenantModel):
    """One person at one provider that is not in force: proved by a sign-in there in the browser in which they were
    signed in here (`proved_at`, `said`), or kept from when the provider was in force.

    When a provider takes the place of another one, these rows alone say whose account goes on (I-23). They go with the
    provider's row, and with a deleted account.
    """

    provider = models.ForeignKey(
        "directory.IdentityProvider", on_delete=models.CASCADE, related_name="links", db_constraint=False
    )
    user = models.ForeignKey(
        "directory.User", on_delete=models.CASCADE, related_name="account_links", db_constraint=False
    )
    subject = models.CharField(max_length=255, blank=True)
    said = models.JSONField(default=dict)
    proved_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="provider", name="directory_accountlink_provider_same"),
            SameTenant(field="user", name="directory_accountlink_user_same"),
            models.UniqueConstraint(fields=["provider", "user"], name="directory_accountlink_once"),
            models.UniqueConstraint(
                fields=["provider", "subject"],
                condition=~models.Q(subject=""),
                name="directory_accountlink_subject",
            ),
        ]
