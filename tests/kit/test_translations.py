"""Every text is there in every language that the portal speaks (docs/translating.md)."""

import re
from collections.abc import Iterator

import pytest
from babel.messages.catalog import Catalog, Message
from django.conf import settings

from config import messages

OTHERS = [code for code, _name in settings.LANGUAGES if code != settings.LANGUAGE_CODE]
# What stands in templates in no language: names, formats, claims of tokens, parts of addresses.
NAMES = {"Seatkeeper", "CSV", "JSON", "PDF", "XLSX", "openid profile email"}
CLAIMS = {
    "iss",
    "sub",
    "aud",
    "exp",
    "iat",
    "nonce",
    "auth",
    "time",
    "amr",
    "tid",
    "oid",
    "acct",
    "name",
    "email",
}
ADDRESSES = {
    *("contoso", "example", "https", "login", "products", "labs", "seatkeeper", "verification"),
    *("keep", "ask", "cancel", "take", "over"),
}
MARKED = re.compile(
    r"{%\s*comment.*?endcomment\s*%}|{#.*?#}|{%\s*blocktranslate.*?endblocktranslate\s*%}|{%\s*block wrap.*?endblock"
    r"|<style.*?</style>|<script.*?</script>|<!--.*?-->|&\w+;",
    re.DOTALL,
)
SAID = re.compile(r'(?:aria-label|title|alt|placeholder|data-label)="([^"]*)"')
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd%]|\{\w*\}|</?\w+[^>]*>")


@pytest.fixture(scope="module")
def in_code() -> Catalog:
    return messages.messages_in_code()


def texts(catalog: Catalog) -> set[tuple[str | tuple[str, ...], str | None]]:
    return {(tuple_of(each.id), each.context) for each in catalog if each.id}


def tuple_of(value: str | list[str] | tuple[str, ...]) -> str | tuple[str, ...]:
    return value if isinstance(value, str) else tuple(value)


def pairs(message: Message) -> Iterator[tuple[str, str]]:
    """Each form of the text with what it is translated to; the last form stands for all that follow."""
    if isinstance(message.id, str):
        yield message.id, str(message.string)
        return
    for place, string in enumerate(message.string):
        yield message.id[min(place, len(message.id) - 1)], string


@pytest.mark.parametrize("language", OTHERS)
def test_no_text_is_missing_and_none_is_left_over(language, in_code):
    """`make messages` mends it: it adds what is new and takes out what is gone."""
    catalog = messages.read(language)

    assert texts(in_code) - texts(catalog) == set()
    assert texts(catalog) - texts(in_code) == set()
    assert not catalog.obsolete


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_is_translated_in_all_its_forms(language):
    catalog = messages.read(language)
    forms = catalog.num_plurals

    for message in catalog:
        if message.id:
            wanted = 1 if isinstance(message.id, str) else forms
            given = [message.string] if isinstance(message.string, str) else list(message.string)
            assert len(given) == wanted, message.id
            assert all(string.strip() for string in given), message.id
            assert not message.fuzzy, message.id


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_has_the_placeholders_and_tags_of_its_text(language):
    for message in messages.read(language):
        if message.id:
            for text, string in pairs(message):
                wanted, given = sorted(PLACEHOLDER.findall(text)), sorted(PLACEHOLDER.findall(string))
                # A form for one may say the number as a word or as a figure.
                plural = text if isinstance(message.id, str) else message.id[-1]
                assert given in (wanted, sorted(PLACEHOLDER.findall(plural))), (text, string)


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_begins_and_ends_as_its_text(language):
    """Spaces and line breaks around a text belong to the template."""
    for message in messages.read(language):
        if message.id:
            for text, string in pairs(message):
                assert text[: len(text) - len(text.lstrip())] == string[: len(string) - len(string.lstrip())]
                assert text[len(text.rstrip()) :] == string[len(string.rstrip()) :]


@pytest.mark.parametrize("language", OTHERS)
def test_what_django_reads_is_made_of_the_translators_file(language):
    """`./bootstrap` makes it anew where it is older."""
    assert messages.po_path(language).with_suffix(".mo").read_bytes() == messages.compiled(language)


def test_a_file_says_the_same_however_often_it_is_brought_up_to_date(tmp_path, monkeypatch):
    for language in OTHERS:
        folder = tmp_path / language / "LC_MESSAGES"
        folder.mkdir(parents=True)
        (folder / "django.po").write_bytes(messages.po_path(language).read_bytes())
    monkeypatch.setattr(messages, "LOCALE", tmp_path)
    messages.merge()
    once = {language: messages.po_path(language).read_bytes() for language in OTHERS}

    messages.merge()

    assert {language: messages.po_path(language).read_bytes() for language in OTHERS} == once


def test_texts_of_templates_are_found_with_their_plurals_and_contexts(tmp_path, monkeypatch):
    monkeypatch.setattr(messages, "CHECKOUT", tmp_path)
    page = tmp_path / "page.html"
    page.write_text(
        '{% load i18n %}\n    <p>{% translate "One" context "number" %}</p>\n'
        "  {% blocktranslate count n=n %}{{ n }} day{% plural %}{{ n }} days{% endblocktranslate %}"
        '<a title="{% translate "It\'s" %}">'
    )
    code = tmp_path / "code.py"
    code.write_text('_("Two")\nngettext("%d week", "%d weeks", 2)\nprint("not me")\n')

    found = texts(messages.messages_in_code([page, code]))

    assert found == {
        ("One", "number"),
        (("%(n)s day", "%(n)s days"), None),
        ("It's", None),
        ("Two", None),
        (("%d week", "%d weeks"), None),
    }


def test_no_template_says_something_that_is_not_marked():
    bare = {}
    for path in sorted(messages.TEMPLATES.rglob("*")):
        if path.suffix in (".html", ".txt"):
            text = re.sub(r"{%.*?%}|{{.*?}}", " ", MARKED.sub(" ", path.read_text()), flags=re.DOTALL)
            said = [*SAID.findall(text), re.sub(r"<[^>]*>", "\n", text) if path.suffix == ".html" else text]
            words = {each.strip() for part in said for each in re.findall(r"[A-Za-z][A-Za-z ]{2,}", part)}
            if left := words - NAMES - CLAIMS - ADDRESSES:
                bare[path.relative_to(messages.TEMPLATES).as_posix()] = left

    assert bare == {}
