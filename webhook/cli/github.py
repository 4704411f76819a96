"""`python -m webhook github …`: the GitHub App."""

import json
import os

import click

from webhook import startup
from webhook.check.needs import events_of, needs_of, permissions_of
from webhook.errors import UserError
from webhook.github import manifest as github_manifest
from webhook.settings import GitHubAddress


@click.group()
def github() -> None:
    """Create the GitHub App."""


@github.command()
@click.option("--organization", default="", help="The organization that is to own the App.")
@click.option("--link", "only_link", is_flag=True, help="Print only the link.")
@click.option("--json", "only_json", is_flag=True, help="Print only the manifest.")
def manifest(organization: str, only_link: bool, only_json: bool) -> None:
    """Print the manifest of a GitHub App with what deploy.yml uses, and no more.

    Below it is a link that creates the App. It needs only GITPLOY_SERVER_HOST, and deploy.yml with
    the variables that this names.
    """
    if only_link and only_json:
        raise UserError("--link and --json each print one part alone; leave one of them out")
    address = GitHubAddress.from_environ(os.environ)
    needs = needs_of(startup.read_config(os.environ).envs)
    document = github_manifest.manifest(address, permissions_of(needs), events_of(needs))
    if not only_link:
        click.echo(json.dumps(document, indent=2) + ("" if only_json else "\n"))
    if not only_json:
        click.echo(github_manifest.link(document, address, organization))
