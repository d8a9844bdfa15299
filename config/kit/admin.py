"""The frame of the admin center, for pages and for models (architecture §9).

Pages are own templates inside unfold's base; `render_page` draws them without its callers knowing the site.
Models are edited through `ScopedModelAdmin`, which shows and takes rows of the acting tenant only.
"""

from collections.abc import Callable
from typing import Any, ClassVar, override

from django.contrib import admin
from django.contrib.admin.filters import ListFilter, RelatedOnlyFieldListFilter
from django.contrib.admin.options import BaseModelAdmin
from django.contrib.admin.utils import NestedObjects, get_deleted_objects
from django.core.exceptions import (
    FieldDoesNotExist,
    ImproperlyConfigured,
    PermissionDenied,
    ValidationError,
)
from django.db import models
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, URLResolver
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin as UnfoldModelAdmin
from unfold.admin import TabularInline as UnfoldTabularInline

from config.kit import access
from config.kit.actors import Actor
from config.kit.errors import NotAllowed, NotVisible
from config.kit.tenancy import login_alias

type Frame = Callable[[HttpRequest], dict[str, Any]]


class Framed:
    """Draws the pages of one site, whose callers need not know it."""

    def __init__(self) -> None:
        self._frame: Frame = lambda _request: {}

    def use(self, frame: Frame) -> None:
        """Register what gives every page its surroundings: titles, menu, colors. The site calls this once."""
        self._frame = frame

    def render(
        self,
        request: HttpRequest,
        template: str,
        context: dict[str, Any] | None = None,
        *,
        status: int = 200,
    ) -> HttpResponse:
        """A page inside the frame, rendered at once, so that every query runs inside the caller's transaction."""
        return render(request, template, self._frame(request) | (context or {}), status=status)


_portal = Framed()
use_frame = _portal.use
# Templates of its pages extend `admin_center/page.html`.
render_page = _portal.render


# --- Models: nine surfaces that `get_queryset` alone leaves open (reliability §1, fact 1) -----------------


def actor_of(request: HttpRequest) -> Actor:
    """:raises NotVisible: nobody is signed in."""
    actor: Actor | None = getattr(request, "actor", None)
    if actor is None:
        raise NotVisible
    return actor


def is_walled(model: type[models.Model]) -> bool:
    """Whether rows of the model belong to a tenant."""
    try:
        model._meta.get_field("tenant")
    except FieldDoesNotExist:
        return False
    return True


def scoped(model: type[models.Model], request: HttpRequest) -> models.QuerySet[Any]:
    """The rows of a model that the actor may see; all of a model that no tenant owns."""
    actor = actor_of(request)
    manager = model._default_manager
    if not is_walled(model):
        return manager.all()
    if hasattr(manager, "visible_to"):
        rows: models.QuerySet[Any] = manager.visible_to(actor)
        return rows
    return manager.filter(tenant_id=actor.tenant_id)


class _Scoped(BaseModelAdmin):  # type: ignore[type-arg]
    """What a model's page and its inlines have in common: own rows only, on the page and in the post."""

    view_capability: ClassVar[str] = ""
    change_capability: ClassVar[str] = ""

    @override
    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows = scoped(self.model, request)
        ordering = self.get_ordering(request)
        return rows.order_by(*ordering) if ordering else rows

    @override
    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Choices, and what a post may name, are the actor's rows; autocompletes are judged by the same set."""
        kwargs["queryset"] = _narrowed(kwargs.get("queryset"), db_field.remote_field.model, request)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    @override
    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs["queryset"] = _narrowed(kwargs.get("queryset"), db_field.remote_field.model, request)
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    @override
    def get_exclude(self, request: HttpRequest, obj: Any = None) -> Any:
        """The tenant is never a field: a posted one is not read."""
        return [*(super().get_exclude(request, obj) or ()), "tenant"]

    def _holds(self, request: HttpRequest, capability: str) -> bool:
        return bool(capability) and actor_of(request).may(capability)

    @override
    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._holds(request, self.view_capability) or self.has_change_permission(request, obj)

    @override
    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._holds(request, self.change_capability)

    @override
    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request)

    @override
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)


def _asks_for_a_window(request: HttpRequest) -> bool:
    """Django's pop-ups: they hand the ids of rows to the page that opened them."""
    return any(name in values for name in ("_popup", "_to_field") for values in (request.GET, request.POST))


def _reaches_out_of_sight(obj: models.Model, request: HttpRequest) -> bool:
    """Whether deleting `obj` takes along, or is held by, a row that the actor does not see."""
    collector = NestedObjects(using=obj._state.db or login_alias(), origin=obj)
    collector.collect([obj])
    touched: dict[type[models.Model], set[Any]] = {type(obj): {obj.pk}}
    collected: Any = collector.model_objs
    for model, rows in collected.items():
        touched.setdefault(model, set()).update(row.pk for row in rows)
    for row in collector.protected:
        touched.setdefault(type(row), set()).add(row.pk)
    return any(
        scoped(model, request).filter(pk__in=keys).count() != len(keys) for model, keys in touched.items()
    )


def _narrowed(rows: Any, model: type[models.Model], request: HttpRequest) -> models.QuerySet[Any]:
    own = scoped(model, request)
    return own if rows is None else rows.filter(pk__in=own.values("pk"))


class ScopedRelatedFilter(RelatedOnlyFieldListFilter):
    """A filter by a related row that lists, and finds, the actor's rows only."""

    def __init__(
        self, field: Any, request: HttpRequest, params: Any, model: Any, model_admin: Any, field_path: str
    ) -> None:
        super().__init__(field, request, params, model, model_admin, field_path)
        self.allowed = {str(pk) for pk, _name in self.lookup_choices}

    @override
    def has_output(self) -> bool:
        """Also when a value was asked for: a filter that is left out would find everything."""
        return super().has_output() or self.lookup_val is not None

    @override
    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[Any]:
        related = field.related_model
        own = scoped(related, request).filter(
            pk__in=model_admin.get_queryset(request).order_by().values_list(field.attname, flat=True)
        )
        return [
            (row.pk, str(row))
            for row in own.order_by(*self.field_admin_ordering(field, request, model_admin))
        ]

    @override
    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        asked: Any = self.lookup_val
        chosen = asked if isinstance(asked, list) else [asked]
        if any(str(value) not in self.allowed for value in chosen if value is not None):
            return queryset.none()
        narrowed = super().queryset(request, queryset)
        return queryset.none() if narrowed is None else narrowed


class ScopedFormSet(BaseInlineFormSet):  # type: ignore[type-arg]
    """An inline's rows: those of the parent and of the actor, whatever the management form claims."""

    _pk_field: Any

    @override
    def initial_form_count(self) -> int:
        """Never more than there are, so that a claimed row that is not there is an error and not a crash."""
        claimed: int = super().initial_form_count()
        return min(claimed, len(self.get_queryset())) if self.is_bound else claimed

    @override
    def clean(self) -> None:
        super().clean()
        key = self._pk_field.name
        claimed = self.management_form.cleaned_data["INITIAL_FORMS"]
        if claimed != self.initial_form_count() or any(
            self.data.get(form.add_prefix(key)) != str(form.instance.pk) for form in self.initial_forms
        ):
            # Without this a row of a forged id, even one to delete, would stand for another of the same place.
            raise ValidationError(_("These rows have changed since you opened the page. Nothing was saved."))

    @override
    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        form.fields[self._pk_field.name].queryset = self.get_queryset()

    @override
    def save_new(self, form: Any, commit: bool = True) -> Any:
        form.instance.tenant_id = self.instance.tenant_id
        return super().save_new(form, commit=commit)


class ScopedInline(_Scoped, UnfoldTabularInline):  # type: ignore[misc]
    """An inline of a scoped page; both sides are of the acting tenant."""

    formset = ScopedFormSet
    extra = 0
    show_change_link = False

    @override
    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._holds(request, self.view_capability or self.change_capability)


_UNROUTED = frozenset({"<path:object_id>/history/", "<path:object_id>/"})
# What Django's own filters append to the name of their field.
_COMPARISONS = frozenset({"id", "exact", "isnull", "gte", "lt"})


class ScopedModelAdmin(_Scoped, UnfoldModelAdmin):  # type: ignore[misc]
    """Edits plain fields of one walled model, for the acting tenant alone; everything with a rule is a page.

    `view_capability` opens the pages, `change_capability` lets add, change and delete. Missing and foreign
    objects answer alike. No history page, no list editing, no add form in a window: the audit trail and the
    operations are elsewhere.
    """

    actions = None
    show_full_result_count = False
    view_on_site = False

    def __init__(self, model: type[models.Model], admin_site: admin.AdminSite) -> None:
        super().__init__(model, admin_site)  # type: ignore[call-arg]
        if self.list_editable or self.raw_id_fields:
            # The first saves rows that were not shown, the second names the row of any id it is given.
            raise ImproperlyConfigured(f"{type(self).__name__}: no list_editable, no raw_id_fields")

    @override
    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        """Filters by related rows become scoped ones, however they were declared."""
        return [self._scoped_filter(declared) for declared in super().get_list_filter(request)]

    def _scoped_filter(self, declared: Any) -> Any:
        name = declared[0] if isinstance(declared, list | tuple) else declared
        if not isinstance(name, str):
            if not (isinstance(name, type) and issubclass(name, ListFilter)):
                raise TypeError(f"{declared!r} is no filter")
            return declared
        field = self.model._meta
        for part in name.split("__"):
            found = field.get_field(part)
            if not found.is_relation:
                return declared
            field = found.related_model._meta
        if "__" in name:
            raise TypeError(f"{name}: a filter over two relations cannot be scoped")
        return (name, ScopedRelatedFilter)

    @override
    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Only what declared filters ask: other lookups would answer questions about rows out of sight."""
        names = {
            declared[0] if isinstance(declared, list | tuple) else declared for declared in self.list_filter
        }
        name, *rest = lookup.split("__")
        return name in names and set(rest) <= _COMPARISONS

    @override
    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """:raises NotVisible: missing or somebody else's, which is the same to the caller."""
        found = super().get_object(request, object_id, None)
        if found is None:
            raise NotVisible
        return found

    @override
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        if object_id is None and not self.has_add_permission(request):
            raise NotAllowed if self.has_view_permission(request) else NotVisible
        if _asks_for_a_window(request):
            raise NotVisible
        return super().changeform_view(request, object_id, form_url, extra_context)

    @override
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        if _asks_for_a_window(request):
            raise NotVisible
        return super().changelist_view(request, extra_context)

    @override
    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Found first, so that missing and foreign objects answer before any permission is named."""
        self.get_object(request, object_id)
        if _asks_for_a_window(request):
            raise NotVisible
        try:
            return super().delete_view(request, object_id, extra_context)
        except PermissionDenied:
            raise NotAllowed from None

    @override
    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Not there: the audit trail is `directory`'s, and Django's own log knows no tenant."""
        raise NotVisible

    @override
    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What deleting takes along; refused when any of it is out of the actor's sight."""
        counted = get_deleted_objects(objs, request, self.admin_site)
        to_delete, count, perms_needed, protected = counted
        if any(_reaches_out_of_sight(obj, request) for obj in objs):
            raise NotAllowed
        return to_delete, count, perms_needed, protected

    @override
    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """The tenant is the actor's, on the add form as on the change form."""
        if is_walled(self.model):
            obj.tenant_id = actor_of(request).tenant_id
        super().save_model(request, obj, form, change)
        if not scoped(self.model, request).filter(pk=obj.pk).exists():
            raise NotAllowed

    @override
    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Django's pages with their capability declared.

        Without history, and without the old address `<id>/`, which answers every id by a redirect.
        """
        urls = [url for url in super().get_urls() if str(url.pattern) not in _UNROUTED]
        for url in urls:
            if isinstance(url, URLPattern):
                access.declare(
                    url.callback,
                    access.Rule("capability", sees=self.view_capability or self.change_capability),
                )
        return urls

    @override
    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> None:
        """Django's log has no tenant; changes are recorded in the audit trail by `record_change`."""
        self.record_change(request, obj, "added")

    @override
    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> None:
        self.record_change(request, obj, "changed")

    @override
    def log_deletions(self, request: HttpRequest, queryset: Any) -> None:
        for obj in queryset:
            self.record_change(request, obj, "deleted")

    def record_change(self, request: HttpRequest, obj: Any, what: str) -> None:
        """Write the audit row of one change, in its transaction (I-26); the app that registers the model says how."""
        raise NotImplementedError
