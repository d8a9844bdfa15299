"""PDFs from typst templates: accessible (PDF/UA-1), with the repository's own fonts embedded.

Data goes in as JSON and comes out as text: nothing that a person typed is ever read as markup.
"""

import json
import logging
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from config.kit import typesetting

logger = logging.getLogger(__name__)

TEMPLATES = Path(settings.BASE_DIR) / "templates" / "pdf"
STANDARD: Final = "ua-1"

# typst names what no font can show; PDF/UA-1 forbids a document that holds it.
_NOT_SHOWN = re.compile(r'the text `"(.*?)"` could not be displayed', re.S)
_ESCAPE = re.compile(r"\\u\{([0-9a-f]+)\}")
# Scripts of which the fonts have all but rare letters: there a single letter is replaced, else the whole script.
_MOSTLY_SHOWN = frozenset({"LATIN", "GREEK", "CYRILLIC", "DIGIT", "COMBINING", "MODIFIER"})
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_MOST_TRIES = 12
# Scripts such as Persian need them between letters.
_JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"


class PdfFailed(Exception):
    """The template does not compile; what it was given is not at fault."""


def render_pdf(template: str, data: Mapping[str, Any], *, at: datetime) -> bytes:
    """The PDF that `templates/pdf/<template>` makes of `data`, whose values are JSON. Not inside a transaction.

    Letters that no font of the machine has are shown as U+FFFD and reported in the log; installing a font of
    their script (docs/deployment.md) shows them. `at` is the instant that the file says it was made.

    :raises PdfFailed: the template is broken.
    """
    shown = _mapped(data, _plain)
    for _ in range(_MOST_TRIES):
        try:
            return _compile(template, shown, at)
        except typesetting.NotDrawn as error:
            missing = _missing(str(error))
            if not missing:
                raise PdfFailed(f"{template}: {str(error).splitlines()[0]}") from error
            logger.warning("No font of this machine shows %s", ascii("".join(sorted(missing))))
            shown = _mapped(shown, partial(_replaced, missing=missing))
    return _compile(template, _mapped(shown, _western), at)


def _compile(template: str, data: Any, at: datetime) -> bytes:
    return typesetting.draw(
        {
            "template": str(TEMPLATES / template),
            "root": str(TEMPLATES),
            "fonts": str(TEMPLATES / "fonts"),
            "inputs": {"data": json.dumps(data, ensure_ascii=False)},
            "standard": STANDARD,
            "timestamp": int(at.timestamp()),
        }
    )


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """The same JSON with every text in it changed."""
    match value:
        case str():
            return change(value)
        case Mapping():
            return {name: _mapped(inner, change) for name, inner in value.items()}
        case list() | tuple():
            return [_mapped(inner, change) for inner in value]
        case _:
            return value


def _plain(text: str) -> str:
    """Without what has no shape of its own: controls, marks that turn the reading direction, private letters."""
    kept = []
    for c in text:
        match unicodedata.category(c):
            case "Cc" | "Zl" | "Zp":
                kept.append(" ")
            case "Cs" | "Cn" | "Co":
                kept.append(_REPLACEMENT)
            case "Cf" if c not in _JOINERS:
                pass
            case _:
                kept.append(c)
    return "".join(kept)


def _western(text: str) -> str:
    return text.encode("latin-1", "replace").decode("latin-1")


def _missing(refusal: str) -> set[str]:
    """The characters that a refusal says no font has."""
    found = _NOT_SHOWN.findall(refusal)
    clusters = [_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text) for text in found]
    return {c for cluster in clusters for c in cluster if ord(c) > 127 and c != _REPLACEMENT}


def _replaced(text: str, missing: set[str]) -> str:
    scripts = {_script(c) for c in missing} - _MOSTLY_SHOWN
    return "".join(
        _REPLACEMENT if c in missing or (ord(c) > 127 and _script(c) in scripts) else c for c in text
    )


def _script(character: str) -> str:
    """The script of a letter by the first word of its name; of anything else, its category."""
    if unicodedata.category(character).startswith("L"):
        return unicodedata.name(character, "").split(" ")[0].split("-")[0]
    return unicodedata.category(character)
