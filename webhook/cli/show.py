"""Commands that show something and change nothing."""

import asyncio
import json
import os
import sys

import click


@click.command()
def check() -> None:
    """Check settings, deploy.yml, GitHub, Slack, the tools and the store; one line each."""
    from webhook.check.run import check as run

    sys.exit(0 if asyncio.run(run(os.environ, click.echo)) else 1)


@click.command()
def schema() -> None:
    """Print the JSON Schema of deploy.yml, for editors."""
    from handlers import HANDLERS
    from webhook.config.environments import json_schema
    from webhook.gates import GATES
    from webhook.notifiers import DESTINATIONS

    options = {name: handler.Options for name, handler in HANDLERS.items()}
    click.echo(json.dumps(json_schema(options, DESTINATIONS, tuple(GATES.values())), indent=2))
