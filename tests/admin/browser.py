"""What every page must stand in Chromium: axe, the policy for scripts and styles, and a phone's width."""

import os
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page

LOOKS = {
    "desktop": {"viewport": {"width": 1440, "height": 1000}},
    "dark": {"viewport": {"width": 1440, "height": 1000}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}},
    "no script": {"viewport": {"width": 1440, "height": 1000}, "java_script_enabled": False},
}
# A folder to keep pictures in, for a look beside the mockups.
PICTURES = os.environ.get("PICTURES", "")


def problems_of(page: Page, title: str, look: str) -> list[str]:
    """What is wrong with an open page in one of `LOOKS`; with PICTURES set it is also photographed."""
    found, complaints = [], []
    page.on("console", lambda message: complaints.append(message.text))
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
        page.reload()
        violations = Axe().run(page).response["violations"]
        found += [
            f"{title}, {look}: {each['id']} {each['nodes'][0]['html'][:200]}"
            for each in violations
            if each["impact"] in ("serious", "critical")
        ]
    found += [f"{title}, {look}: {text}" for text in complaints if "Refused" in text or "violates" in text]
    return found
