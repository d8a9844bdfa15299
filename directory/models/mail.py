"""The outbox: a mail is a row first, written in the transaction of what it tells about (product §15)."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from config.kit.tenancy import SameTenant, TenantModel


class OutgoingMail(TenantModel):
    """One mail to one address. `event_key` makes it at most one per event and recipient.

    Queued, then sent; what keeps failing is dead after ten tries and waits for the vendor's staff. One to somebody
    who left before it went out is not sent.
    """

    class State(models.TextChoices):
        QUEUED = "queued", _("Queued")
        SENT = "sent", _("Sent")
        DEAD = "dead", _("Dead letter")
        LEFT = "left", _("Not sent: the person had left")

    kind = models.CharField(max_length=40)
    event_key = models.CharField(max_length=120, unique=True)
    to_user_id = models.BigIntegerField(null=True)
    to_address = models.EmailField(max_length=254)
    language = models.CharField(max_length=10, default="en")
    context = models.JSONField(default=dict, help_text="What the templates of this kind need; plain values.")
    state = models.CharField(max_length=6, choices=State.choices, default=State.QUEUED)
    tries = models.PositiveSmallIntegerField(default=0)
    next_try_at = models.DateTimeField()
    created_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True)

    class Meta(TenantModel.Meta):
        constraints = [*TenantModel.Meta.constraints]
        indexes = [
            models.Index(
                fields=["next_try_at"], condition=models.Q(state="queued"), name="directory_mail_queued"
            ),
        ]


class MailPreference(TenantModel):
    """A kind of mail that a person switched off or on again; no row means on (product §5.3, §15)."""

    user = models.ForeignKey(
        "directory.User", on_delete=models.CASCADE, related_name="mail_preferences", db_constraint=False
    )
    kind = models.CharField(max_length=40)
    is_on = models.BooleanField()
    changed_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="user", name="directory_mailpreference_user"),
            models.UniqueConstraint(fields=["user", "kind"], name="directory_mailpreference_once"),
        ]
