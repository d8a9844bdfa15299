"""The web server's own log, written as every other (`gunicorn.conf.py` names it)."""

from typing import Any, override

from gunicorn.glogging import Logger

from config.kit.logs import MaskingFormatter


class WebServerLogger(Logger):  # type: ignore[misc]
    """Masks, and keeps each record on its line: a path stands in the access log as it was meant, line ends decoded."""

    @override
    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            for handler in log.handlers:
                if handler.formatter is not None:
                    handler.setFormatter(MaskingFormatter(handler.formatter._fmt, handler.formatter.datefmt))
