"""The frame of the admin center, for pages and for models (architecture §9).

Pages are own templates inside unfold's base; `render_page` draws them without its callers knowing the site.
"""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

type Frame = Callable[[HttpRequest], dict[str, Any]]

_frames: list[Frame] = []


def use_frame(frame: Frame) -> None:
    """Register what gives every page its surroundings: titles, menu, colors. The site calls this once."""
    _frames[:] = [frame]


def render_page(
    request: HttpRequest, template: str, context: dict[str, Any] | None = None, *, status: int = 200
) -> HttpResponse:
    """A page inside the admin center's frame. `template` extends `admin_center/page.html`.

    Renders at once, so that every query runs inside the caller's transaction.
    """
    surroundings: dict[str, Any] = {}
    for frame in _frames:
        surroundings |= frame(request)
    return render(request, template, surroundings | (context or {}), status=status)
