"""3-D Secure: when a card needs it, and where the cardholder completes it."""

from urllib.parse import urlencode

from .errors import Json
from .session import Session


def is_required(method: Json, *, off_session: bool) -> bool:
    """Whether the issuer wants the cardholder to authenticate this charge."""
    kind = method["_traits"]["authentication"]
    if kind == "always":
        return True
    if kind == "unless_set_up":
        return not (off_session and method["_is_set_up"])
    return kind == "on_session" and not off_session


def is_required_to_save(method: Json) -> bool:
    """Whether the issuer wants the cardholder to authenticate before the card is kept for later."""
    kind = method["_traits"]["authentication"]
    return kind == "always" or (kind == "unless_set_up" and not method["_is_set_up"])


def next_action(session: Session, intent: Json, *, return_url: str | None, uses_sdk: bool) -> Json:
    """What the browser does next: the script's own window, or the issuer's page and back to `return_url`."""
    query = {
        "intent": intent["id"],
        "client_secret": intent["client_secret"],
        "key": session.publishable_key,
    }
    page = f"{session.base_url}/v3/issuer?{urlencode(query)}"
    if return_url and not uses_sdk:
        intent["_return_url"] = return_url
        return {"type": "redirect_to_url", "redirect_to_url": {"return_url": return_url, "url": page}}
    return {
        "type": "use_stripe_sdk",
        "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": page},
    }
