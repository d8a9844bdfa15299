"""Events, as the API shows them."""

from . import forms
from .errors import Json, malformed
from .forms import Spec
from .session import PAGE, Session

LIST: Spec = PAGE | {"type": forms.string, "types": forms.array(forms.string)}


def retrieve(session: Session, params: Json, id_: str) -> Json:
    return session.get("event", id_)


def list_(session: Session, params: Json) -> Json:
    if "type" in params and "types" in params:
        raise malformed("You may only specify one of these parameters: type, types.")
    types = [params["type"]] if "type" in params else params.get("types")
    return session.page_of("/v1/events", "event", params, types=types)
