"""typst, which keeps threads of its own: drawing one PDF here, or where that is not possible, elsewhere.

A process that was forked after its parent had drawn has none of those threads, and would wait for them forever.
It draws in a new interpreter that runs this file, which imports nothing of the project.
"""

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

if TYPE_CHECKING:
    # Loaded with the first PDF: 13 MB of memory that only a process which draws one needs.
    import typst

PATIENCE_SECONDS: Final = 60
_REFUSED: Final = 3


class Page(TypedDict):
    """What is drawn: the template and its folder, where fonts lie, its inputs, the standard, Unix seconds."""

    template: str
    root: str
    fonts: str
    inputs: dict[str, str]
    standard: Literal["ua-1"]
    timestamp: int


class NotDrawn(Exception):
    """typst refuses the page; the message is its own, with what it points at."""


# The process that drew first; a fork of it is another one.
_drawn_by: int | None = None


def draw(page: Page) -> bytes:
    """The PDF of a page.

    :raises NotDrawn: typst refuses it.
    """
    global _drawn_by
    if _drawn_by is None:
        _drawn_by = os.getpid()
    return _draw_here(page) if _drawn_by == os.getpid() else _draw_elsewhere(page)


def _draw_here(page: Page) -> bytes:
    import typst

    try:
        pdf = typst.compile(
            page["template"],
            root=page["root"],
            font_paths=_fonts(page["fonts"]),
            format="pdf",
            sys_inputs=page["inputs"],
            pdf_standards=page["standard"],
            timestamp=page["timestamp"],
        )
    except typst.TypstError as error:
        raise NotDrawn(f"{error.message}\n{error.diagnostic}") from error
    assert isinstance(pdf, bytes)
    return pdf


def _draw_elsewhere(page: Page) -> bytes:
    done = subprocess.run(  # noqa: S603 - this file, by this interpreter
        [sys.executable, "-I", __file__],
        input=json.dumps(page).encode(),
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    if done.returncode == _REFUSED:
        raise NotDrawn(done.stderr.decode())
    done.check_returncode()
    return done.stdout


@lru_cache(maxsize=1)
def _fonts(folder: str) -> "typst.Fonts":
    """The fonts of the repository and those of the machine, looked for once."""
    import typst

    return typst.Fonts(font_paths=[Path(folder)])


def _main() -> int:
    page: Any = json.load(sys.stdin)
    try:
        sys.stdout.buffer.write(_draw_here(page))
    except NotDrawn as refused:
        sys.stderr.write(str(refused))
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(_main())
