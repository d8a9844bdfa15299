"""What is stored about a person, for that person: one JSON file, streamed (product §11)."""

import json
from collections.abc import Iterator
from datetime import timedelta

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from config.kit import access
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.rate import Limit
from config.kit.tenancy import tenant_atomic
from directory.models import User
from directory.operations.leaving import record_download
from licensing.queries.my_data import sections

PER_PERSON = Limit("my-data", tries=5, per=timedelta(hours=1), fails_closed=False)


@access.signed_in(owns_transaction=True)
@require_http_methods(["GET", "HEAD", "POST"])
def my_data(request: HttpRequest) -> HttpResponseBase:
    """GET: what it is. POST: the file; whoever acts for a customer gets what the own organization stores."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    user: User = request.user  # type: ignore[assignment]
    if request.method != "POST":
        with tenant_atomic(actor):
            answer: HttpResponse = render(request, "licensing/my_data.html", {"section": "account"})
        return answer
    at = now()
    PER_PERSON.count(str(user.pk))
    record_download(user=user, actor=actor, at=at)
    response = StreamingHttpResponse(_json(user), content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="my-data-{at:%Y-%m-%d}.json"'
    return response


def _json(user: User) -> Iterator[str]:
    """One object with a list for each kind of thing, row by row. Opens its own transaction."""
    yield "{"
    with tenant_atomic(user.tenant_id):
        for number, (name, rows) in enumerate(sections(user)):
            yield f"{',' if number else ''}\n{json.dumps(name)}: ["
            for place, row in enumerate(rows):
                yield f"{',' if place else ''}\n{json.dumps(row, default=str, ensure_ascii=False)}"
            yield "]"
    yield "\n}\n"
