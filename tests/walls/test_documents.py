"""What documents say is tested is tested: every test that they name exists."""

import re
import tomllib
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
NAMED = re.compile(r"(tests/[\w/]+\.py)(?:::(test_\w+))?")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/guide/*.md")])
BOUNDARIES = (
    *("Browser", "Identity provider", "Card processor", "Webhooks", "API tokens", "SCIM client", "Partners"),
    *("Vendor's staff", "Worker", "Database", "Backups and logs"),
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_a_document_names_is_there(document: Path) -> None:
    missing = [
        f"{file}::{name}" if name else file
        for file, name in NAMED.findall(document.read_text())
        if not (ROOT / file).is_file() or (name and f"def {name}(" not in (ROOT / file).read_text())
    ]

    assert missing == []


def test_the_threat_model_goes_through_each_boundary_and_every_threat_names_its_test() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text()
    parts = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.M | re.S))

    assert set(BOUNDARIES) <= set(parts)
    for boundary in BOUNDARIES:
        rows = re.findall(r"^\| ([STRIDE]) \| (.+) \| (.+) \| (.+) \|$", parts[boundary], re.M)
        assert len(rows) == parts[boundary].count("\n| ") - 1, boundary
        assert all("tests/" in shown_by or "make " in shown_by for _kind, _threat, _stop, shown_by in rows)


def test_the_readme_leads_to_what_is_said_about_security() -> None:
    text = (ROOT / "README.md").read_text()

    assert {"docs/threat-model.md", "docs/entra.md", "SECURITY.md", "docs/deployment.md"} <= set(
        re.findall(r"`([\w/.-]+\.md)`", text)
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_links_to_or_shows_is_there(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", document.read_text())

    assert [link for link in links if not (document.parent / link).exists()] == []


def test_every_document_has_its_place_in_the_site() -> None:
    parts = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    placed = [
        page
        for part in parts
        for pages in part.values()
        for page in ([pages] if isinstance(pages, str) else pages)
    ]
    written = [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/guide/*.md")]

    assert sorted(placed) == sorted(str(page.relative_to(ROOT / "docs")) for page in written)
