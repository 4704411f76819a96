"""What the demo prints in a terminal, with or without colors."""

import io
import time
from collections.abc import Mapping, Sequence
from textwrap import indent

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sandbox.github.model import Deployment, Status
from sandbox.sandbox import Sandbox
from sandbox.slack.model import Channel, Message
from sandbox.slack.screen import render

# Enough for the table at the end: in a pipe the console would be too narrow for it.
WIDTH = 112
_COLORS = {"success": "green", "failure": "red", "error": "red", "in_progress": "cyan"}


class Output:
    """Prints each status on GitHub and each message in Slack as it is created."""

    def __init__(self, sandbox: Sandbox, *, silent: bool) -> None:
        self._sandbox = sandbox
        self._console = Console(
            highlight=False,
            soft_wrap=True,
            file=io.StringIO() if silent else None,
            width=max(Console().width, WIDTH),
        )
        self._started = time.monotonic()
        sandbox.github.on_status.append(self._print_status)
        sandbox.slack.on_change.append(self._print_message)

    def print_start(self, relay_url: str, stand_ins: str) -> None:
        self._console.print(
            f"The relay runs at {relay_url} with its own PostgreSQL. The stand-ins:\n{stand_ins}"
        )

    def print_request(self, title: str, url: str) -> None:
        self._console.print()
        self._console.rule(title, align="left")
        self._print_line("request", f"POST {url}")

    def print_press(self, label: str, who: str) -> None:
        self._console.print()
        self._console.rule(f"{who} presses [{label}] in Slack", align="left")

    def print_site(self, url: str, page: str) -> None:
        heading = page.partition("<h1>")[2].partition("</h1>")[0]
        self._print_line("site", f"GET {url} shows: {heading or 'nothing yet'}")

    def print_tool(self, result: str) -> None:
        self._print_line("tool", result)

    def print_summary(self, tools: Sequence[str], succeeded: bool, expected_failures: str) -> None:
        """`tools`: the tool of each deployment, in their order."""
        table = Table(box=None, pad_edge=False)
        for column in ("environment", "tool", "ref", "states on GitHub", "Slack"):
            table.add_column(column, no_wrap=True)
        for tool, deployment in zip(tools, self._sandbox.github.deployments.values(), strict=True):
            table.add_row(*self._row(tool, deployment))
        self._console.print()
        self._console.rule("What happened", align="left")
        self._console.print(table)
        result = (
            f"All deployments ended as expected, with these failures: {expected_failures}."
            if succeeded
            else "Not all deployments ended as expected."
        )
        self._console.print(f"\n{result} {time.monotonic() - self._started:.1f} s.")

    def print_addresses(self, addresses: Mapping[str, str], command: str) -> None:
        self._console.print("\nEverything keeps running until Ctrl-C:")
        for name, address in addresses.items():
            self._console.print(f"  {name:13} {address}")
        self._console.print("The pages to which the statuses link:")
        for deployment in self._sandbox.github.deployments.values():
            log_url = self._sandbox.github.statuses(deployment.id)[-1].log_url
            self._console.print(f"  {log_url}")
        self._console.print(f"Create another deployment:\n  {command}")

    def _row(self, tool: str, deployment: Deployment) -> tuple[str, ...]:
        slack = [
            f"#{channel.name}, {'reply' if message.is_reply else _edits(message.edits)}"
            for channel in self._sandbox.slack.channels.values()
            for message in channel.messages.values()
            if (message.metadata or {})["event_payload"]["key"].startswith(f"{deployment.id}:")
        ]
        states = " > ".join(self._sandbox.github.states(deployment.id))
        ref = deployment.ref if deployment.ref != deployment.sha else deployment.sha[:7]
        return (deployment.environment, tool, ref, states, "\n".join(slack))

    def _print_status(self, deployment: Deployment, status: Status) -> None:
        state = Text(f"{status.state:12}", style=_COLORS.get(status.state, "yellow"))
        self._print_line("GitHub", Text.assemble(state, status.description))

    def _print_message(self, channel: Channel, message: Message) -> None:
        self._print_line("Slack", f"#{channel.name}, {_kind(message)}:")
        names = self._sandbox.slack.workspace.names
        self._console.print(Text(indent(render(message, names), " " * 16)))

    def _print_line(self, source: str, text: str | Text) -> None:
        seconds = time.monotonic() - self._started
        self._console.print(Text.assemble((f"{seconds:5.1f}s  ", "dim"), f"{source:8} ", text))


def _edits(count: int) -> str:
    return f"{count} edit" if count == 1 else f"{count} edits"


def _kind(message: Message) -> str:
    if message.is_reply:
        also = ", shown in the channel" if message.broadcast else ""
        return f"reply in its thread{also}"
    return f"message, edit {message.edits}" if message.edits else "message"
