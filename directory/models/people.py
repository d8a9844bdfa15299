"""Accounts, groups and roles."""

import uuid
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.utils.translation import gettext_lazy as _

from config.kit.tenancy import SameTenant, ScopedQuerySet, TenantModel
from directory.permissions import Role


def fold(text: str) -> str:
    """Lower case without accents' case variants, for sorting and search (PostgreSQL here has no ICU)."""
    import unicodedata

    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()[:200]


def fold_user_name(text: str) -> str:
    """The form in which user names are compared: case apart."""
    return text.casefold()[:254]


class UserQuerySet(ScopedQuerySet):
    def active(self) -> "UserQuerySet":
        return self.filter(status=User.Status.ACTIVE)

    def members(self) -> "UserQuerySet":
        return self.filter(kind=User.Kind.MEMBER)


class UserManager(BaseUserManager["User"].from_queryset(UserQuerySet)):
    """Accounts are made by `directory.operations`, never with a password."""

    def get_by_natural_key(self, key: str | None) -> "User":
        user: User = self.get(key=key)
        return user


class User(AbstractBaseUser, TenantModel):
    """An account whose home is one tenant. The account key is (tenant, issuer, subject) (I-23).

    Lives from creation at first sign-in or by the directory, through disabled (may return), to deleted (final,
    the row stays for bills and audit).
    """

    class Kind(models.TextChoices):
        MEMBER = "member", _("Member")
        GUEST = "guest", _("Guest")

    class Status(models.TextChoices):
        ACTIVE = "active", _("Active")
        DISABLED = "disabled", _("Disabled")
        DELETED = "deleted", _("Deleted")

    class Source(models.TextChoices):
        CLOUD = "cloud", _("Cloud")
        ON_PREMISES = "on_premises", _("Synced from on-premises")

    password = None  # type: ignore[assignment]
    last_login = None

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    kind = models.CharField(max_length=6, choices=Kind.choices, default=Kind.MEMBER)
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.ACTIVE)
    source = models.CharField(max_length=11, choices=Source.choices, default=Source.CLOUD)
    name = models.CharField(max_length=200)
    sort_name = models.CharField(max_length=200, editable=False)
    email = models.EmailField(max_length=254)
    issuer = models.CharField(max_length=500, blank=True)
    subject = models.CharField(max_length=255, blank=True)
    language = models.CharField(max_length=10, blank=True)
    chosen_language = models.CharField(
        max_length=10,
        blank=True,
        db_default="",
        default="",
        help_text=_("What the person chose here; it goes before what the directory says."),
    )
    # What the organization's directory calls the person (SCIM); empty for who was made here or at sign-in.
    user_name = models.CharField(max_length=254, blank=True, db_default="", default="")
    user_name_folded = models.CharField(max_length=254, blank=True, db_default="", default="", editable=False)
    external_id = models.CharField(
        max_length=255,
        blank=True,
        db_default="",
        default="",
        help_text=_("The directory's own id of the person; the first sign-in is matched by it."),
    )
    given_name = models.CharField(max_length=200, blank=True, db_default="", default="")
    family_name = models.CharField(max_length=200, blank=True, db_default="", default="")
    purchaser_since = models.DateTimeField(
        null=True, blank=True, help_text=_("First own purchase; opens the limited view and keeps it open.")
    )
    signed_in_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    disabled_at = models.DateTimeField(null=True, blank=True)
    name_forgotten_at = models.DateTimeField(null=True, editable=False)
    deleted_at = models.DateTimeField(null=True, blank=True)
    sessions_valid_from = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(
        null=True, blank=True, help_text=_("When what SCIM shows changed last.")
    )

    USERNAME_FIELD = "key"
    REQUIRED_FIELDS: list[str] = []

    objects = UserManager()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(
                fields=["tenant", "issuer", "subject"],
                condition=~models.Q(subject=""),
                name="directory_user_account_key",
            ),
            models.UniqueConstraint(
                fields=["tenant", "user_name_folded"],
                condition=~models.Q(user_name_folded="") & ~models.Q(status="deleted"),
                name="directory_user_user_name",
            ),
            models.UniqueConstraint(
                fields=["tenant", "external_id"],
                condition=~models.Q(external_id="") & ~models.Q(status="deleted"),
                name="directory_user_external_id",
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "sort_name", "id"], name="directory_user_sorted"),
            models.Index(fields=["issuer", "subject"], name="directory_user_subject"),
            models.Index(fields=["tenant", "email"], name="directory_user_email"),
            # Those who left: few, and asked for by what they bought.
            models.Index(
                fields=["tenant", "id"], condition=~models.Q(status="active"), name="directory_user_left"
            ),
            # Everybody, in the order in which a directory pages through them.
            models.Index(
                fields=["tenant", "id"], condition=~models.Q(status="deleted"), name="directory_user_live"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.sort_name = fold(self.name)
        self.user_name_folded = fold_user_name(self.user_name)
        super().save(*args, **kwargs)

    @property
    def is_active(self) -> bool:  # type: ignore[override]
        return self.status == self.Status.ACTIVE

    @property
    def is_staff(self) -> bool:
        """Read by Django's admin; who may enter is decided by the capability of each page."""
        return False

    @property
    def reads(self) -> str:
        """The language of the person's own: the choice made here, else what the directory says; empty without either."""
        return self.chosen_language or self.language

    @property
    def has_left(self) -> bool:
        return self.status != self.Status.ACTIVE

    @property
    def initials(self) -> str:
        words = self.name.split() or ["?"]
        return (words[0][0] + (words[-1][0] if len(words) > 1 else "")).upper()

    def has_perm(self, perm: str, obj: object = None) -> bool:
        return False

    def has_module_perms(self, app_label: str) -> bool:
        return False


class Group(TenantModel):
    """Members of a tenant, named together."""

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=200)
    external_id = models.CharField(max_length=255, blank=True, db_default="", default="")
    created_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField(null=True, help_text=_("When the name or the members changed last."))

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["tenant", "name"], name="directory_group_name"),
            models.UniqueConstraint(
                fields=["tenant", "external_id"],
                condition=~models.Q(external_id=""),
                name="directory_group_external_id",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class GroupMembership(TenantModel):
    """One user in one group."""

    group = models.ForeignKey(
        Group, on_delete=models.CASCADE, related_name="memberships", db_constraint=False
    )
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships", db_constraint=False)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="group", name="directory_groupmembership_group"),
            SameTenant(field="user", name="directory_groupmembership_user"),
            models.UniqueConstraint(fields=["group", "user"], name="directory_groupmembership_once"),
        ]


class RoleAssignment(TenantModel):
    """One role held by one user in the home tenant (product §2)."""

    class Name(models.TextChoices):
        GLOBAL_ADMIN = Role.GLOBAL_ADMIN, _("Global admin")
        BILLING_ADMIN = Role.BILLING_ADMIN, _("Billing admin")
        LICENSE_ADMIN = Role.LICENSE_ADMIN, _("License admin")
        USER_ADMIN = Role.USER_ADMIN, _("User admin")
        GLOBAL_READER = Role.GLOBAL_READER, _("Global reader")

    user = models.ForeignKey(
        User, on_delete=models.CASCADE, related_name="role_assignments", db_constraint=False
    )
    role = models.CharField(max_length=16, choices=Name.choices)
    granted_at = models.DateTimeField()
    granted_by_id = models.BigIntegerField(null=True)
    granted_by = models.CharField(max_length=200)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="user", name="directory_roleassignment_user"),
            models.UniqueConstraint(fields=["user", "role"], name="directory_roleassignment_once"),
            models.CheckConstraint(
                condition=models.Q(
                    role__in=[
                        Role.GLOBAL_ADMIN,
                        Role.BILLING_ADMIN,
                        Role.LICENSE_ADMIN,
                        Role.USER_ADMIN,
                        Role.GLOBAL_READER,
                    ]
                ),
                name="directory_roleassignment_known",
            ),
        ]
