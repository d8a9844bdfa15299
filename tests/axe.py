"""What axe says of a page that is open in Chromium: every rule it knows, the best practices too (docs/accessibility.md)."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

_axe = Axe()


def violations(page: Page, *, frames: bool = False) -> list[str]:
    """Each rule that something on the page breaks, whatever its impact, with the first that breaks it.

    Without what is in frames, since the frame of the card's fields is the processor's own; `frames` for a page of others
    that holds one of ours.
    """
    found = _axe.run(page, options={"resultTypes": ["violations"], "iframes": frames}).response["violations"]
    return [f"{each['id']} ({each['impact']}) {each['nodes'][0]['html'][:200]}" for each in found]
