"""A destination as deploy.yml has it, and a message for it."""

from typing import Any

import pytest

from handlers import HANDLERS
from webhook.config.load import load
from webhook.errors import ConfigErrors
from webhook.notifiers import DESTINATIONS
from webhook.notifiers.contract import Message, Purpose

RELAY = "https://relay.acme.io"
# Seconds.
TIMEOUT = 2.0


def message(notice: Any, purpose: Purpose = "main", **more: Any) -> Message:
    return Message(purpose=purpose, about=notice, **more)


def destinations(notifier: str, own: str, default: str = "[]", **environ: str) -> list[Any]:
    """Those that an environment has in the end."""
    environment = f"{{name: a, handler: command, with: {{run: [x]}}, {notifier}: {own}}}"
    text = f"{notifier}: {default}\nenvs: [{environment}]"
    options = {name: handler.Options for name, handler in HANDLERS.items()}
    [loaded] = load(
        text, source="deploy.yml", environ=environ, handler_options=options, notifiers=DESTINATIONS
    ).envs
    return [one for name, one in loaded.destinations() if name == notifier]


def rejection(notifier: str, own: str, **environ: str) -> str:
    """The one error, without its position."""
    with pytest.raises(ConfigErrors) as caught:
        destinations(notifier, own, **environ)
    [error] = caught.value.errors
    return error.partition(": ")[2]
