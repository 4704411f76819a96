"""Addresses of the pages, also for what is rendered outside a request."""

from urllib.parse import quote, urlencode

BOARD = "/"
DELIVERIES = "/deliveries"
INSIGHTS = "/insights"
HEALTH = "/health"
AUDIT = "/audit"
CONFIGURATION = "/configuration"


def environment(repo: str, name: str) -> str:
    return f"/environments/{quote(repo)}/{quote(name)}"


# No account on GitHub begins with a hyphen; and an environment may be called "web/events".
def environment_events(repo: str, name: str) -> str:
    return f"/environments/-/events/{quote(repo)}/{quote(name)}"


def deploy(repo: str, name: str) -> str:
    """Where one sees what would be deployed; `ref` is in the query."""
    return f"/environments/-/deploy/{quote(repo)}/{quote(name)}"


def roll_back(repo: str, name: str) -> str:
    """Where one sees what would be taken back; `to` in the query is the deployment to return to."""
    return f"/environments/-/roll-back/{quote(repo)}/{quote(name)}"


def deployment(repo: str, deployment_id: int) -> str:
    return f"/deployments/{quote(repo)}/{deployment_id}"


def delivery(guid: str) -> str:
    return f"{DELIVERIES}/{quote(guid, safe='')}"


def act(kind: str) -> str:
    return f"/acts/{kind}"


def with_query(path: str, **values: str) -> str:
    """Without what is empty."""
    query = urlencode({name: value for name, value in values.items() if value})
    return f"{path}?{query}" if query else path
