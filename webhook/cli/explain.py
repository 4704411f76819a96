"""`python -m webhook explain`: what holds for an environment, and what a deployment would meet."""

import asyncio

import click

from webhook.cli.listing import print_rows
from webhook.deployments.explanation import Explanation
from webhook.engine.explain import explain, question_about
from webhook.errors import UserError
from webhook.github.users import is_login
from webhook.startup import set_up_command
from webhook.store.schema import migrated_store
from webhook.text import json_text


@click.command("explain")
@click.argument("repo", metavar="OWNER/REPO")
@click.argument("environment")
@click.option("--ref", default="", help="Branch, tag or commit; else the default branch.")
@click.option("--as", "person", metavar="LOGIN", default="", help="Who would ask for it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def explain_command(*, repo: str, environment: str, ref: str, person: str, as_json: bool) -> None:
    """Print the policy of an environment, and what a deployment to it would meet now.

    Each line says where it comes from: this deploy.yml, the repository's own, or the default.
    """
    from webhook.slack.actions import ACTIONS
    from webhook.slack.actions.typed import ref_error, repo_error
    from webhook.worker import open_services

    if error := repo_error(repo) or (ref_error(ref) if ref else ""):
        raise UserError(error)
    if person and not is_login(person):
        raise UserError(f"'{person}' is not a GitHub login; write it without @, as in octocat")
    setup = set_up_command()

    async def opened(url: str) -> Explanation:
        async with open_services(setup, url, actions=ACTIONS) as services:
            question = await question_about(services, repo, environment, ref, person)
            return await explain(services, question)

    with migrated_store(setup.settings) as (url, _):
        _print(asyncio.run(opened(url)), as_json=as_json)


def _print(found: Explanation, *, as_json: bool) -> None:
    if as_json:
        for section in found.sections:
            for row in section.rows:
                click.echo(json_text({"section": section.name, **row.cells}))
        for caveat in found.caveats:
            click.echo(json_text({"section": "caveats", "caveat": caveat}))
        return
    click.echo(found.heading)
    for section in found.sections:
        click.echo(f"\n{section.title}")
        print_rows(section.columns, [row.cells for row in section.rows], as_json=False)
    if found.caveats:
        click.echo("")
    for caveat in found.caveats:
        click.echo(f"Note: {caveat}.")
