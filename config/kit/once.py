"""Forms whose answer shows a secret: sent a second time, as reloading the answer does, they make nothing more."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.cache import cache
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Conflict

FIELD = "once"
KEPT_SECONDS = 86_400
KEY_LENGTH = 64


class SentAlready(Conflict):
    """The answer to this form was shown before."""

    code = "sent_already"
    message = _(
        "This form was sent before, and its secret was shown then. If you do not have it, remove what was made then and "
        "make it anew."
    )


def new_key() -> str:
    """What a form carries in `FIELD`, once for each time that it is shown."""
    return secrets.token_urlsafe(16)


@contextmanager
def once(request: HttpRequest) -> Iterator[None]:
    """Do what a form asks unless the same form was done before. What fails does not count.

    Kept for a day by the cache, which may forget: it keeps people from mistakes, and nothing else hangs on it.

    :raises SentAlready: the form with this key was done.
    """
    key = request.POST.get(FIELD, "")[:KEY_LENGTH]
    actor: Actor = request.actor  # type: ignore[attr-defined]
    name = f"once:{actor.user_id}:{key}"
    if key and not cache.add(name, True, KEPT_SECONDS):
        raise SentAlready
    try:
        yield
    except BaseException:
        if key:
            cache.delete(name)
        raise
