"""The tools that the relay can run, by the name that deploy.yml gives them."""

from handlers.command import Command
from handlers.contract import Handler

HANDLERS: dict[str, type[Handler]] = {
    "command": Command,
}
