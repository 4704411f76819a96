"""The tools that the relay can run, by the name that deploy.yml gives them."""

from handlers.command import Command
from handlers.contract import Handler
from handlers.drone import Drone
from handlers.endpoint import Endpoint
from handlers.github_actions import GitHubActions
from handlers.spinnaker import Spinnaker
from handlers.woodpecker import Woodpecker

HANDLERS: dict[str, type[Handler]] = {
    "command": Command,
    "drone": Drone,
    "endpoint": Endpoint,
    "github-actions": GitHubActions,
    "spinnaker": Spinnaker,
    "woodpecker": Woodpecker,
}

# Their names for people; a handler that is not here is shown by its key.
TITLES = {
    "drone": "Drone CI",
    "github-actions": "GitHub Actions",
    "spinnaker": "Spinnaker",
    "woodpecker": "Woodpecker CI",
}
