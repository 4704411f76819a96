"""The demo as people read it in a terminal, with or without colours."""

import io
import time
from collections.abc import Mapping, Sequence
from textwrap import indent

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sandbox.demo.screen import render
from sandbox.github.model import Deployment, Status
from sandbox.sandbox import Sandbox
from sandbox.slack.model import Channel, Message

# Of the table at the end, which would be cut where it goes into a pipe.
WIDTH = 112
_COLOURS = {"success": "green", "failure": "red", "error": "red", "in_progress": "cyan"}


class Story:
    """Tells what GitHub records and how Slack looks, as it happens."""

    def __init__(self, sandbox: Sandbox, *, silent: bool) -> None:
        self._sandbox = sandbox
        self._console = Console(
            highlight=False,
            soft_wrap=True,
            file=io.StringIO() if silent else None,
            width=max(Console().width, WIDTH),
        )
        self._began = time.monotonic()
        sandbox.github.on_status.append(self._status)
        sandbox.slack.on_change.append(self._slack)

    def begin(self, relay_url: str, stand_ins: str) -> None:
        self._console.print(
            f"The relay runs at {relay_url}, with a PostgreSQL of its own. The stand-ins:\n"
            f"{stand_ins}"
        )

    def ask(self, title: str, url: str) -> None:
        self._console.print()
        self._console.rule(title, align="left")
        self._line("ask", f"POST {url}")

    def press(self, label: str, who: str) -> None:
        self._console.print()
        self._console.rule(f"{who} presses [{label}] in Slack", align="left")

    def site(self, url: str, page: str) -> None:
        seen = page.partition("<h1>")[2].partition("</h1>")[0]
        self._line("site", f"GET {url} says: {seen or 'nothing yet'}")

    def tool(self, shown: str) -> None:
        self._line("tool", shown)

    def table(self, tools: Sequence[str], went_well: bool, meant: str) -> None:
        """`tools`: of each deployment; `meant`: what was meant to fail."""
        table = Table(box=None, pad_edge=False)
        for column in ("environment", "tool", "ref", "states on GitHub", "Slack"):
            table.add_column(column, no_wrap=True)
        for tool, deployment in zip(tools, self._sandbox.github.deployments.values(), strict=True):
            table.add_row(*self._row(tool, deployment))
        self._console.print()
        self._console.rule("What happened", align="left")
        self._console.print(table)
        words = (
            f"All went as it should; meant to fail: {meant}."
            if went_well
            else "It did not go as it should."
        )
        self._console.print(f"\n{words} {time.monotonic() - self._began:.1f} s.")

    def addresses(self, addresses: Mapping[str, str], command: str) -> None:
        self._console.print("\nAll goes on running until Ctrl-C:")
        for name, address in addresses.items():
            self._console.print(f"  {name:13} {address}")
        self._console.print("The pages that the statuses link to:")
        for deployment in self._sandbox.github.deployments.values():
            log_url = self._sandbox.github.statuses(deployment.id)[-1].log_url
            self._console.print(f"  {log_url}")
        self._console.print(f"Ask for one more deployment:\n  {command}")

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

    def _status(self, deployment: Deployment, status: Status) -> None:
        state = Text(f"{status.state:12}", style=_COLOURS.get(status.state, "yellow"))
        self._line("GitHub", Text.assemble(state, status.description))

    def _slack(self, channel: Channel, message: Message) -> None:
        self._line("Slack", f"#{channel.name}, {_kind(message)}:")
        names = self._sandbox.slack.workspace.names
        self._console.print(Text(indent(render(message, names), " " * 16)))

    def _line(self, who: str, what: str | Text) -> None:
        seconds = time.monotonic() - self._began
        self._console.print(Text.assemble((f"{seconds:5.1f}s  ", "dim"), f"{who:8} ", what))


def _edits(count: int) -> str:
    return f"{count} edit" if count == 1 else f"{count} edits"


def _kind(message: Message) -> str:
    if message.is_reply:
        shown = ", shown in the channel" if message.broadcast else ""
        return f"reply in its thread{shown}"
    return f"message, edit {message.edits}" if message.edits else "message"
