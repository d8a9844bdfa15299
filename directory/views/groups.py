"""Groups of people, and who is in them."""

import uuid
from http import HTTPStatus
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, DomainError, Malformed, NotAllowed
from directory.models import Group
from directory.operations.groups import remove_member, rename_group
from directory.operations.people import add_member, create_group
from directory.permissions import Capability
from directory.queries import group_for, groups_page, members_page, outsiders
from directory.queries.partners import gives_roles
from directory.sessions import require_fresh

LONGEST_NAME = 200


def _crumbs() -> list[tuple[str, str]]:
    return [(_("People"), reverse("portal:people"))]


@access.requires(sees=Capability.SEE_PEOPLE)
@require_http_methods(["GET", "HEAD", "POST"])
def groups(request: HttpRequest) -> HttpResponse:
    """The groups of the organization. POST: make one."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    name, problem = "", None
    if request.method == "POST":
        name = request.POST.get("name", "").strip()
        try:
            made = _make(actor, name)
        except (Conflict, Malformed) as refused:
            problem = refused
        else:
            messages.success(request, _("The group is there. Put people into it."))
            return HttpResponseRedirect(made, status=HTTPStatus.SEE_OTHER)
    page = groups_page(actor, cursor=request.GET.get("page", ""))
    context = {
        "title": _("Groups"),
        "crumbs": _crumbs(),
        "rows": page.rows,
        "next": f"?{urlencode({'page': page.next})}" if page.next else "",
        "back": f"?{urlencode({'page': page.back})}" if page.back else "",
        "may_manage": actor.may(Capability.MANAGE_MEMBERS),
        "name": name[:LONGEST_NAME],
        "problem": str(problem) if problem else "",
    }
    status = problem.status if problem else HTTPStatus.OK
    return render_page(request, "directory/groups.html", context, status=status)


def _make(actor: Actor, name: str) -> str:
    """The address of the new group. :raises Malformed: that is no name."""
    if not actor.may(Capability.MANAGE_MEMBERS):
        raise NotAllowed
    _check_name(name)
    group = create_group(actor=actor, name=name, at=now())
    return reverse("portal:group", args=[group.key])


def _check_name(name: str) -> None:
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise Malformed(_("Give it a name of up to 200 characters."), field="name")


@access.requires(sees=Capability.SEE_PEOPLE)
@require_http_methods(["GET", "HEAD", "POST"])
def group(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """Who is in a group. POST: put somebody in, take somebody out, or rename it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    found = group_for(actor, key)
    problem: DomainError | None = None
    if request.method == "POST":
        try:
            said = _change(request, actor, found)
        except (Conflict, Malformed) as refused:
            problem = refused
        else:
            messages.success(request, said)
            return HttpResponseRedirect(reverse("portal:group", args=[key]), status=HTTPStatus.SEE_OTHER)
    query = request.GET.get("q", "").strip()[:200]
    page = members_page(found, cursor=request.GET.get("page", ""))
    may_manage = actor.may(Capability.MANAGE_MEMBERS)
    context = {
        "title": found.name,
        "crumbs": [*_crumbs(), (_("Groups"), reverse("portal:groups"))],
        "group": found,
        "rows": page.rows,
        "next": f"?{urlencode({'page': page.next})}" if page.next else "",
        "back": f"?{urlencode({'page': page.back})}" if page.back else "",
        "may_manage": may_manage,
        "query": query,
        "name": request.POST.get("name", found.name)[:LONGEST_NAME],
        "found": outsiders(found, query) if query and may_manage else [],
        "problem": str(problem) if problem else "",
        "wrong_name": problem is not None and request.POST.get("action") == "rename",
    }
    status = problem.status if problem else HTTPStatus.OK
    return render_page(request, "directory/group.html", context, status=status)


def _change(request: HttpRequest, actor: Actor, group: Group) -> str:
    """Do what was pressed; what to say about it.

    :raises Malformed: nobody is named, or that is no name. :raises GroupNameTaken: as named.
    :raises SignInTooOld: the group has roles for a customer.
    """
    if not actor.may(Capability.MANAGE_MEMBERS):
        raise NotAllowed
    person, action = request.POST.get("person", ""), request.POST.get("action", "")
    if action == "rename":
        name = request.POST.get("name", "").strip()
        _check_name(name)
        renamed = rename_group(actor=actor, group_key=group.key, name=name, at=now())
        return _("The group is called %(name)s now.") % {"name": renamed.name}
    if not (person.isascii() and person.isdigit() and len(person) <= 18) or action not in ("add", "remove"):
        raise Malformed(_("Choose somebody from the list."), field="person")
    if action == "add" and gives_roles(group):
        require_fresh(request)
    change = add_member if action == "add" else remove_member
    change(actor=actor, group_key=group.key, user_id=int(person), at=now())
    return _("Added.") if action == "add" else _("Taken out of the group.")
