"""E-mail domains as text."""

from django.utils.translation import gettext_lazy as _

from config.kit.errors import Malformed


def fold_domain(name: str) -> str:
    """A domain as stored: lower case, in its ASCII form, without a final dot.

    :raises Malformed: not a domain name of at least two labels.
    """
    text = name.strip().rstrip(".").lower()
    try:
        ascii_name = text.encode("idna").decode()
    except UnicodeError as error:
        raise Malformed(_("This is not a domain name."), field="name") from error
    labels = ascii_name.split(".")
    is_name = len(labels) > 1 and all(
        label and label.replace("-", "").isalnum() and not label.startswith("-") and not label.endswith("-")
        for label in labels
    )
    if not is_name or len(ascii_name) > 253:
        raise Malformed(_("This is not a domain name."), field="name")
    return ascii_name
