"""The demo; the only command that imports the sandbox."""

import asyncio
import sys

import click

from webhook.invocation import as_typed


@click.command()
@click.option("--keep", is_flag=True, help="Leave everything running afterwards, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--all", "every_tool", is_flag=True, help="Also a deployment through every other tool."
)
@click.option("--pull", is_flag=True, help="As where GitHub cannot reach the relay.")
def demo(keep: bool, as_json: bool, every_tool: bool, pull: bool) -> None:
    """Run the demo on stand-ins for GitHub, Slack and the tools; needs no accounts."""
    from sandbox.demo.demo import demo as run

    again = f"{as_typed()} --keep"
    running = run(keep=keep, as_json=as_json, every_tool=every_tool, pull=pull, again=again)
    sys.exit(asyncio.run(running))
