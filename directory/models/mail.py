"""The outbox and the inbox: what somebody is told is a row first, written in the transaction of what it tells about
(product §15; docs/notices.md)."""

from typing import Self, override

from django.db import models
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.tenancy import SameTenant, ScopedQuerySet, TenantModel
from directory.topics import MAIL_ONLY, OTHER, kinds_of, named_kinds


class NoticeQuerySet(ScopedQuerySet):
    """Rows as notices of the portal."""

    @override
    def visible_to(self, actor: Actor) -> Self:
        """The person's own, in their own organization: whoever acts for a customer is told nothing there."""
        if actor.is_partner or actor.user_id is None:
            return self.none()
        own = self.filter(tenant_id=actor.tenant_id, to_user_id=actor.user_id)
        return own.exclude(kind__in=MAIL_ONLY)

    def unread(self) -> Self:
        return self.filter(read_at=None)

    def about(self, topic: str) -> Self:
        """Those of one topic; every one when it is empty."""
        if topic == OTHER:
            return self.exclude(kind__in=named_kinds())
        return self.filter(kind__in=kinds_of(topic)) if topic else self


class OutgoingMail(TenantModel):
    """One thing told to one person: a notice of the portal, and a mail unless the person wants none of the kind.

    `event_key` makes it at most one per event and recipient, for ever. Queued, then sent, without `sent_at` until that is
    known; what keeps failing is dead after ten tries. Both wait for the vendor's staff. What belongs into a digest waits for it until `next_try_at`, and
    is listed when a digest took it. A kind that was switched off is shown in the portal only; to somebody who left
    before it went out nothing is sent. After
    `settings.NOTICES_KEPT` reader, address and content are forgotten; that it was told stays. `language` is the reader's
    own; empty: the default of the reader's organization, asked when it goes out.
    """

    class State(models.TextChoices):
        QUEUED = "queued", _("Queued")
        SENT = "sent", _("Sent")
        DEAD = "dead", _("Dead letter")
        LEFT = "left", _("Not sent: the person had left")
        DIGEST = "digest", _("Waits for a digest")
        LISTED = "listed", _("Listed in a digest")
        PORTAL = "portal", _("In the portal only")

    kind = models.CharField(max_length=40)
    event_key = models.CharField(max_length=120, unique=True)
    to_user_id = models.BigIntegerField(null=True)
    to_address = models.EmailField(max_length=254)
    language = models.CharField(max_length=10, blank=True, default="")
    context = models.JSONField(default=dict, help_text="What the templates of this kind need; plain values.")
    state = models.CharField(max_length=6, choices=State.choices, default=State.QUEUED)
    tries = models.PositiveSmallIntegerField(default=0)
    next_try_at = models.DateTimeField()
    created_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True)
    read_at = models.DateTimeField(null=True)

    objects = NoticeQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        constraints = [*TenantModel.Meta.constraints]
        indexes = [
            models.Index(
                fields=["next_try_at"], condition=models.Q(state="queued"), name="directory_mail_queued"
            ),
            models.Index(
                fields=["next_try_at"], condition=models.Q(state="digest"), name="directory_mail_digest"
            ),
            models.Index(fields=["id"], condition=models.Q(state="dead"), name="directory_mail_dead"),
            models.Index(
                fields=["id"],
                condition=models.Q(state="sent", sent_at__isnull=True),
                name="directory_mail_unsure",
            ),
            # The inbox and its number; what was forgotten is in neither.
            models.Index(fields=["to_user_id", "created_at", "id"], name="directory_mail_inbox"),
            models.Index(
                fields=["to_user_id"], condition=models.Q(read_at=None), name="directory_mail_unread"
            ),
            models.Index(
                fields=["created_at"],
                condition=models.Q(to_user_id__isnull=False),
                name="directory_mail_kept",
            ),
        ]


class MailPreference(TenantModel):
    """What a person said of one kind of mail; no row means on, and at once (product §3.5, §5.3, §15).

    `is_daily`: not at once, but in one mail a day; only of the kinds that have a digest.
    """

    user = models.ForeignKey(
        "directory.User", on_delete=models.CASCADE, related_name="mail_preferences", db_constraint=False
    )
    kind = models.CharField(max_length=40)
    is_on = models.BooleanField()
    is_daily = models.BooleanField(default=False, db_default=False)
    changed_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="user", name="directory_mailpreference_user"),
            models.UniqueConstraint(fields=["user", "kind"], name="directory_mailpreference_once"),
        ]
