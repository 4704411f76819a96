"""The GitHub App for this relay: its manifest, and a link to the page that creates it, filled in.

Source: docs.github.com/apps/sharing-github-apps, "Registering a GitHub App from a manifest" and
"Registering a GitHub App using URL parameters". The webhook's secret cannot be filled in.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from webhook.github.addresses import web_url_of
from webhook.settings import GitHubAddress

NAME = "Gitploy Relay"
WEBHOOK_PATH = "/webhook"
# Where people come back to who sign in with GitHub, as in Gitploy.
SIGNIN_PATH = "/signin"

Json = dict[str, Any]


def manifest(address: GitHubAddress, permissions: Mapping[str, str], events: Sequence[str]) -> Json:
    return {
        "name": NAME,
        "url": address.server_url,
        "hook_attributes": {"url": f"{address.server_url}{WEBHOOK_PATH}", "active": True},
        "callback_urls": [f"{address.server_url}{SIGNIN_PATH}"],
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
        *(("callback_urls[]", url) for url in manifest["callback_urls"]),
        ("webhook_active", "true"),
        ("webhook_url", manifest["hook_attributes"]["url"]),
        *manifest["default_permissions"].items(),
        *(("events[]", event) for event in manifest["default_events"]),
    ]
    github = web_url_of(address.github_base_url)
    return f"{github}{owner}/settings/apps/new?{urlencode(parameters, safe='[]')}"
