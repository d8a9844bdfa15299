"""The translators' files: `make messages` brings them up to date with the code, `./bootstrap` compiles them.

`locale/<language>/LC_MESSAGES/django.po` is what people edit; Django reads the `.mo` beside it, which is made and never
committed (docs/translating.md, docs/adr/0047). Only pip's packages are needed: Django turns templates into what an
extractor understands, Babel extracts, merges and compiles. Needs no settings.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

CHECKOUT: Final = Path(__file__).resolve().parents[1]
LOCALE: Final = CHECKOUT / "locale"
# Where texts are; the command line, which answers in English, and migrations, which are done once, are left out.
PACKAGES: Final = ("config", "directory", "policies", "commerce", "licensing")
NOT_TRANSLATED: Final = ("migrations", "cli")
TEMPLATES: Final = CHECKOUT / "templates"
# What the catalogue's own files say of products; what the vendor's staff write themselves stays as it is.
PRODUCTS: Final = CHECKOUT / "commerce" / "data" / "texts.json"
KEYWORDS: Final = {
    **DEFAULT_KEYWORDS,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext_lazy": (1, 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext_lazy": ((1, "c"), 2, 3),
}
# Without dates and names: a file changes only where its messages do.
_HEADER: Final = """\
# Seatkeeper. docs/translating.md says which words are used, and how this file is brought up to date.
msgid ""
msgstr ""
"Language: {language}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: {plural_forms}\\n"

"""
WIDTH: Final = 110


def sources() -> Iterator[Path]:
    """The files that hold texts, in the order of their names."""
    for package in PACKAGES:
        for path in sorted((CHECKOUT / package).rglob("*.py")):
            if not set(path.parts) & set(NOT_TRANSLATED):
                yield path
    yield PRODUCTS
    yield from (path for path in sorted(TEMPLATES.rglob("*")) if path.suffix in (".html", ".txt"))


def messages_in_code(paths: Iterable[Path] | None = None) -> Catalog:
    """Every text that the code marks for translation, and the files that hold it."""
    catalog = Catalog(charset="utf-8")
    for path in sources() if paths is None else paths:
        name = path.relative_to(CHECKOUT).as_posix()
        for _line, message, comments, context in extract(
            "python", BytesIO(_as_python(path)), KEYWORDS, ("Translators:",), {"encoding": "utf-8"}
        ):
            catalog.add(message, None, [(name, 1)], auto_comments=comments, context=context)
    return catalog


def languages() -> list[str]:
    """Those that have a file."""
    return sorted(path.parts[-3] for path in LOCALE.glob("*/LC_MESSAGES/django.po"))


def po_path(language: str) -> Path:
    return LOCALE / language / "LC_MESSAGES" / "django.po"


def read(language: str) -> Catalog:
    """The catalogue of a language as its translators left it."""
    with po_path(language).open("rb") as file:
        return read_po(file, locale=language, domain="django")


def merge() -> Mapping[str, int]:
    """Bring every file up to date: new texts without a translation, and without those that are gone. How many of each
    language's texts are without one.

    Nothing is guessed from a text that is alike: a wrong translation is worse than none.
    """
    found = messages_in_code()
    missing = {}
    for language in languages():
        catalog = read(language)
        catalog.update(found, no_fuzzy_matching=True, update_creation_date=False)
        catalog.obsolete.clear()
        with po_path(language).open("wb") as file:
            file.write(_HEADER.format(language=language, plural_forms=catalog.plural_forms).encode())
            write_po(file, catalog, width=WIDTH, omit_header=True, sort_by_file=True, include_lineno=False)
        missing[language] = sum(not _is_translated(message.string) for message in catalog if message.id)
    return missing


def compiled(language: str) -> bytes:
    """What Django reads of a language, made of its file."""
    made, catalog = BytesIO(), read(language)
    # The same contents are the same bytes, whenever they are made.
    catalog.creation_date = catalog.revision_date = datetime(2026, 1, 1, tzinfo=UTC)
    write_mo(made, catalog)
    return made.getvalue()


def compile_all() -> None:
    """Write what Django reads, each in one step: a process that starts meanwhile reads the old or the new one."""
    for language in languages():
        path = po_path(language).with_suffix(".mo")
        beside = path.with_suffix(".mo.new")
        beside.write_bytes(compiled(language))
        beside.replace(path)


def _as_python(path: Path) -> bytes:
    """A file as the extractor reads it. What Django makes of a template keeps its indentation, which would be wrong in
    Python."""
    text = path.read_text()
    if path == PRODUCTS:
        text = "\n".join(f"_({json.dumps(each)})" for each in _said_of_products(text))
    elif path.suffix != ".py":
        text = "\n".join(line.lstrip() for line in templatize(text, origin=str(path)).splitlines())
    return text.encode()


def _said_of_products(content: str) -> Iterator[str]:
    for said in json.loads(content).values():
        links = (link[name] for link in said["links"] for name in ("title", "note"))
        yield from filter(None, (said["tagline"], said["description"], *said["features"], *links))


def _is_translated(string: object) -> bool:
    return all(string) if isinstance(string, tuple | list) and string else bool(string)


def main(arguments: Sequence[str]) -> int:
    if arguments == ["compile"]:
        compile_all()
        return 0
    for language, missing in merge().items():
        print(f"{language}: {missing} texts without a translation")  # noqa: T201
    compile_all()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
