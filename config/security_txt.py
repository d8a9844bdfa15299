"""`/.well-known/security.txt` of this installation: where to report a weakness of it (RFC 9116)."""

from datetime import timedelta

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from config.kit.access import public
from config.kit.clock import now

# The RFC asks for less than a year: who reads it later asks again.
GOOD_FOR = timedelta(days=90)


@public(owns_transaction=True)
@require_safe
def security_txt(request: HttpRequest) -> HttpResponse:
    """The contacts of `SECURITY_CONTACTS`, best first; 404 where none is set."""
    if not settings.SECURITY_CONTACTS:
        raise Http404
    until = (now() + GOOD_FOR).replace(hour=0, minute=0, second=0, microsecond=0)
    lines = [
        *(f"Contact: {contact}" for contact in settings.SECURITY_CONTACTS),
        f"Expires: {until:%Y-%m-%dT%H:%M:%SZ}",
        f"Preferred-Languages: {', '.join(code for code, _name in settings.LANGUAGES)}",
        f"Canonical: {settings.PUBLIC_URL}{reverse('security-txt')}",
    ]
    return HttpResponse("\r\n".join(lines) + "\r\n", content_type="text/plain; charset=utf-8")
