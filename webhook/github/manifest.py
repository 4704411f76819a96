"""The GitHub App for this relay: its manifest, and a link to the page that creates it, filled in.

Source: docs.github.com/apps/sharing-github-apps, "Registering a GitHub App from a manifest" and
"Registering a GitHub App using URL parameters". The webhook's secret cannot be filled in.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from webhook.settings import GitHubAddress

NAME = "Gitploy Relay"
WEBHOOK_PATH = "/webhook"
_PUBLIC_API = "api.github.com"

Json = dict[str, Any]


def manifest(address: GitHubAddress, permissions: Mapping[str, str], events: Sequence[str]) -> Json:
    return {
        "name": NAME,
        "url": address.server_url,
        "hook_attributes": {"url": f"{address.server_url}{WEBHOOK_PATH}", "active": True},
        "public": False,
        "default_permissions": dict(sorted(permissions.items())),
        "default_events": sorted(events),
    }


def link(manifest: Json, address: GitHubAddress, organization: str = "") -> str:
    """`organization`: that is to own the App; "" for a person."""
    owner = f"/organizations/{quote(organization, safe='')}" if organization else ""
    parameters = [
        ("name", manifest["name"]),
        ("url", manifest["url"]),
        ("public", "false"),
        ("webhook_active", "true"),
        ("webhook_url", manifest["hook_attributes"]["url"]),
        *manifest["default_permissions"].items(),
        *(("events[]", event) for event in manifest["default_events"]),
    ]
    return f"{_pages(address)}{owner}/settings/apps/new?{urlencode(parameters, safe='[]')}"


def _pages(address: GitHubAddress) -> str:
    """Where people go, rather than programs."""
    api = urlsplit(address.github_base_url)
    host = "github.com" if api.netloc == _PUBLIC_API else api.netloc
    return f"{api.scheme}://{host}"
