"""The processor's clock: real time plus the demo's offset."""

import json
import time
from pathlib import Path


class Clock:
    """Reads `{"offset_seconds": N}` from a file, again whenever the file changed; no file means no offset."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._offset = 0.0

    def now(self) -> int:
        """Unix seconds with the offset; signatures and retries of webhooks stay on real time."""
        return int(time.time() + self.offset())

    def offset(self) -> float:
        if self._path is None:
            return 0.0
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._stamp = None
            return 0.0
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        if stamp != self._stamp:
            try:
                self._offset = float(json.loads(self._path.read_text())["offset_seconds"])
            except FileNotFoundError:
                return 0.0
            except (ValueError, KeyError, TypeError):
                # Half written: the last good offset stays until the writer is done.
                return self._offset
            self._stamp = stamp
        return self._offset
