"""What every page must stand in Chromium: axe, the policy for scripts and styles, and a phone's width."""

import os
from pathlib import Path
from weakref import WeakKeyDictionary

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page

from tests.axe import violations

# How every page is looked at: both widths and both color schemes, each pair of them seldom.
LOOKS = {
    "desktop": {"viewport": {"width": 1440, "height": 1000}},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
    "no script": {"viewport": {"width": 1440, "height": 1000}, "java_script_enabled": False},
}
EVERY_LOOK = LOOKS | {"dark": {"viewport": {"width": 1440, "height": 1000}, "color_scheme": "dark"}}
# A folder to keep pictures in, for a look beside the mockups.
PICTURES = os.environ.get("PICTURES", "")
# What the browser said of a page, from before it was opened.
_SAID: WeakKeyDictionary[Page, list[str]] = WeakKeyDictionary()


def listen(page: Page) -> Page:
    """Note from now on what the browser says of it; `problems_of` reads that."""
    said = _SAID.setdefault(page, [])
    page.on("console", lambda message: said.append(message.text))
    return page


def problems_of(page: Page, title: str, look: str) -> list[str]:
    """What is wrong with an open page in one of `EVERY_LOOK`; with PICTURES set it is also photographed.

    One that nobody listened to from the beginning is opened again, so that its complaints are heard.
    """
    found = []
    if page not in _SAID:
        listen(page)
        if look != "no script":
            page.reload()
    try:
        page.locator("h1").wait_for(timeout=10_000)
    except PlaywrightError:
        found.append(f"{title}, {look}: no heading")
    if PICTURES:
        page.wait_for_timeout(300)
        page.screenshot(path=Path(PICTURES) / f"{title} {look}.png".replace(" ", "-"), full_page=True)
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth") if look == "phone" else 0
    if wide > 0:
        found.append(f"{title}, {look}: {wide} px wider than the screen")
    if look != "no script":
        found += [f"{title}, {look}: {each}" for each in violations(page)]
    found += [f"{title}, {look}: {text}" for text in _SAID[page] if "Refused" in text or "violates" in text]
    _SAID[page].clear()
    return found
