"""The admin center's menu, by capability: what a person may not see is not there."""

from django.http import HttpRequest
from django.templatetags.static import static


def tokens_css(request: HttpRequest) -> str:
    return static("tokens.css")


def seatkeeper_css(request: HttpRequest) -> str:
    return static("seatkeeper.css")
