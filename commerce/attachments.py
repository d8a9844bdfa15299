"""Files of support cases: what is taken, told by the content and never by the name (reliability §6; docs/support.md)."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import filetype

MOST_FILES: Final = 5
MOST_BYTES: Final = 5_000_000
LONGEST_NAME: Final = 100
PLAIN: Final = "text/plain"
# Of what a content says that it is, the endings that its name may have; the first one is put on any other name.
ENDINGS: Final = {
    "image/png": (".png",),
    "image/jpeg": (".jpg", ".jpeg"),
    "application/pdf": (".pdf",),
    "text/csv": (".csv",),
    PLAIN: (".txt", ".log"),
}
# For the file dialog of a browser.
ACCEPT: Final = ",".join(ending for endings in ENDINGS.values() for ending in endings)

_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_NOT_IN_A_NAME: Final = re.compile(r'[/\\:*?"<>|]')


class Why(StrEnum):
    """Why a file was not taken; `TEXT_CUT`: of a mail, the end of its text."""

    TOO_MANY = "too_many"
    TOO_LARGE = "too_large"
    EMPTY = "empty"
    KIND = "kind"
    TEXT_CUT = "text_cut"


@dataclass(frozen=True, slots=True)
class Taken:
    """A file as it is kept: a clean name with the ending of its type."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is not kept."""

    name: str
    why: Why


def sort_out(files: Iterable[tuple[str, bytes]]) -> tuple[Sequence[Taken], Sequence[LeftOut]]:
    """Which of these names and contents are kept, in their order, and which are not, with why."""
    taken: list[Taken] = []
    left_out: list[LeftOut] = []
    for name, content in files:
        found = _judge(name, content) if len(taken) < MOST_FILES else Why.TOO_MANY
        if isinstance(found, Taken):
            taken.append(found)
        else:
            left_out.append(LeftOut(clean_name(name), found))
    return taken, left_out


def _judge(name: str, content: bytes) -> Taken | Why:
    if not content:
        return Why.EMPTY
    if len(content) > MOST_BYTES:
        return Why.TOO_LARGE
    media_type = type_of(name, content)
    if not media_type:
        return Why.KIND
    return Taken(_with_ending(clean_name(name), ENDINGS[media_type]), media_type, content)


def type_of(name: str, content: bytes) -> str:
    """The media type by the content; empty when it is none that is taken. Only text asks its name: whether it is CSV."""
    kind = filetype.guess(content)
    if kind is not None and kind.mime in ENDINGS:
        return str(kind.mime)
    if not _is_text(content):
        return ""
    return "text/csv" if name.lower().endswith(".csv") else PLAIN


def _is_text(content: bytes) -> bool:
    """UTF-8, or Windows' western European letters, without a control character that no text has."""
    if _CONTROL.search(content):
        return False
    for encoding in ("utf-8", "cp1252"):
        try:
            content.decode(encoding)
        except UnicodeDecodeError:
            continue
        return True
    return False


def clean_name(name: str) -> str:
    """The last part of a path, in letters that every system takes; never empty, never hidden, at most 100 long."""
    name = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode())
    name = name.replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(" " if letter.isspace() else letter for letter in name)
    # No control, no direction mark that would turn an ending around, no half of a letter.
    name = "".join(letter for letter in name if not unicodedata.category(letter).startswith("C"))
    name = " ".join(_NOT_IN_A_NAME.sub("_", name).split()).strip(". ")
    if len(name) > LONGEST_NAME:
        stem, dot, ending = name.rpartition(".")
        keeps_ending = dot and len(ending) <= 10
        name = f"{stem[: LONGEST_NAME - 1 - len(ending)]}.{ending}" if keeps_ending else name[:LONGEST_NAME]
    return name or "file"


def _with_ending(name: str, endings: Sequence[str]) -> str:
    if name.lower().endswith(tuple(endings)):
        return name
    return f"{name[: LONGEST_NAME - len(endings[0])]}{endings[0]}"
