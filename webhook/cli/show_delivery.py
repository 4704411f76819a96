"""`python -m webhook deliveries show`: one delivery, what became of it, and why."""

import json
import sys
from typing import Any, Literal

import click

from webhook.cli.deployment_document import deployment_document, print_deployment
from webhook.cli.documents import Document, print_facts
from webhook.cli.selection import delivery_id
from webhook.engine.deliveries import RESULTS, WAYS, lateness_of, reason_of, repository_of
from webhook.logs import Redactor, hidden
from webhook.startup import set_up_command
from webhook.store import deployments
from webhook.store.database import Sync
from webhook.store.deliveries import Delivery, DeliverySummary, read_sync, summaries
from webhook.store.schema import migrated_store
from webhook.text import json_text
from webhook.timing import utc_now
from webhook.web.pages.terminal_text import harmless

Body = Literal["pretty", "raw", "none"]


@click.command("show")
@click.argument("guid")
@click.option(
    "--body",
    type=click.Choice(["pretty", "raw", "none"]),
    default="pretty",
    show_default=True,
    help="raw: nothing but the body, as it came.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with ids as text.")
def show_delivery(guid: str, body: Body, as_json: bool) -> None:
    """Show a delivery: its headers, what became of it and why, its deployment, its body.

    GUID is as GitHub shows it on the App's Advanced page, or its first 8 characters. Known secrets
    are hidden, also in a raw body.
    """
    setup = set_up_command()
    redactor = Redactor(setup.secrets)
    with migrated_store(setup.settings) as (_, connection):
        found_id = delivery_id(connection, setup.settings, guid)
        [summary] = summaries(connection, [found_id])
        delivery = read_sync(connection, found_id)
        assert delivery is not None
        document = hidden(_document(connection, delivery, summary), redactor)
    if body == "raw" and not as_json:
        _print_raw(redactor, delivery.body)
        return
    content = None if body == "none" else _content(delivery.body, redactor)
    if as_json:
        click.echo(json_text({**document, "body": content}))
        return
    _print(document)
    if content is not None:
        click.echo("")
        click.secho(f"Body ({len(delivery.body):,} bytes)", bold=True)
        text = harmless(content) if isinstance(content, str) else json_text(content, indent=2)
        click.echo(text)


def _document(connection: Sync, delivery: Delivery, summary: DeliverySummary) -> dict[str, Any]:
    row = deployments.read_sync(connection, summary.deployment_id or 0)
    return {
        "id": str(delivery.id),
        "headers": {
            "X-GitHub-Event": delivery.event,
            "X-GitHub-Delivery": delivery.guid,
            "X-GitHub-Hook-ID": str(delivery.hook_id),
        },
        "received_at": delivery.received_at,
        "delivered_at": delivery.delivered_at,
        "late": lateness_of(summary),
        "arrivals": summary.arrivals,
        "way": delivery.way,
        "repository": repository_of(summary),
        "result": RESULTS[delivery.outcome],
        "failures": summary.failures,
        "reason": summary.reason,
        "deployment_id": str(summary.deployment_id) if summary.deployment_id else None,
        "deployment": deployment_document(connection, row) if row else None,
        "says": reason_of(summary, utc_now()),
    }


def _content(body: bytes, redactor: Redactor) -> Any:
    """Parsed, else as text."""
    try:
        return hidden(json.loads(body), redactor)
    except (ValueError, RecursionError):
        return redactor.text(body.decode(errors="replace"))


def _print_raw(redactor: Redactor, body: bytes) -> None:
    text = redactor.text(body.decode(errors="surrogateescape"))
    if sys.stdout.isatty():
        click.echo(harmless(text.encode(errors="replace").decode()))
    else:
        click.echo(text.encode(errors="surrogateescape"), nl=False)


def _print(document: Document) -> None:
    headers = document["headers"]
    late = f"{document['late']} before" if document["late"] else None
    arrivals = document["arrivals"]
    print_facts(
        f"Delivery {headers['X-GitHub-Delivery']}: {document['result']}",
        {
            "why": document["says"],
            **headers,
            "repository": document["repository"],
            "received": document["received_at"],
            "GitHub sent it first": document["delivered_at"],
            "that is": late,
            "arrived": f"{arrivals} times" if arrivals > 1 else None,
            "how": WAYS[document["way"]],
            "errors so far": document["failures"] or None,
            "deployment": document["deployment_id"],
        },
    )
    if document["deployment"] is not None:
        click.echo("")
        print_deployment(document["deployment"])
