"""What the demo prints in a terminal, with or without colors: each event in a line or a few."""

import re
import time
from collections.abc import Mapping, Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sandbox.github.model import Deployment, Status
from sandbox.sandbox import Sandbox
from sandbox.slack.model import Channel, Message
from sandbox.slack.screen import render

# Enough for the table at the end: in a pipe the console would be too narrow for it.
WIDTH = 112
# In the text of a message about a deployment that has ended.
FINAL_TEXTS = ("succeeded", "failed", "could not run")
_COLORS = {"success": "green", "failure": "red", "error": "red", "in_progress": "cyan"}
_TIME = re.compile(r"^[0-9:]{8} UTC +")
_INDENT = " " * 27


class Output:
    """Prints each status on GitHub and each message in Slack as it is created. Of a message it
    prints its headline and the lines that no message had before, of an edit only those."""

    def __init__(self, sandbox: Sandbox, file: TextIO | None = None) -> None:
        self._sandbox = sandbox
        self._console = Console(
            highlight=False,
            soft_wrap=True,
            file=file,
            width=max(Console().width, WIDTH),
        )
        self._started = time.monotonic()
        self._brief = False
        # By the timestamp of a message.
        self._shown: set[str] = set()
        self._seen: set[str] = set()
        sandbox.github.on_status.append(self._print_status)
        sandbox.slack.on_change.append(self._print_message)

    def print_starting(self) -> None:
        self._console.print("Starting a relay with its own PostgreSQL ...")

    def print_start(self, stand_ins: str) -> None:
        self._started = time.monotonic()
        self._console.print(f"It runs. {stand_ins} are stand-ins; the relay is the real one.")

    def print_deployment(self, title: str, *, brief: bool) -> None:
        """What follows belongs to it. `brief`: how it ends is enough."""
        self._brief = brief
        self._console.rule(title, align="left")

    def print_act(self, what: str) -> None:
        self._console.rule(what, align="left")

    def print_site(self, url: str, page: str) -> None:
        heading = page.partition("<h1>")[2].partition("</h1>")[0]
        self._print_line("site", f"{url} shows: {heading or 'nothing yet'}")

    def print_tool(self, result: str) -> None:
        self._print_line("tool", result)

    def print_summary(self, tools: Sequence[str], expected_failures: str, hint: str) -> None:
        """`tools`: the tool of each deployment, in their order. `hint`: what to do next."""
        table = Table(box=None, pad_edge=False)
        for column in ("environment", "tool", "ref", "states on GitHub"):
            table.add_column(column, no_wrap=True)
        for tool, deployment in zip(tools, self._sandbox.github.deployments.values(), strict=True):
            states = " > ".join(self._sandbox.github.states(deployment.id))
            table.add_row(deployment.environment, tool, _ref(deployment), states)
        self._console.rule("What happened", align="left")
        self._console.print(table)
        self._console.print(
            f"All as expected, also what failed: {expected_failures}. {hint}".rstrip()
        )

    def print_addresses(
        self,
        first: Mapping[str, str],
        people: Mapping[str, str],
        addresses: Mapping[str, str],
        command: str,
    ) -> None:
        """`first`: where to begin. `people`: as whom one can sign in, and why."""
        self._console.print("\nEverything keeps running until Ctrl-C. Open in a browser:")
        self._print_columns(first)
        self._console.print("\nSign in to the board, without a password, as")
        self._print_columns(people)
        self._console.print("\nAlso there:")
        pages = {
            f"{_repository(deployment)} {deployment.environment} {_ref(deployment)}": page
            for deployment in self._sandbox.github.deployments.values()
            if (page := self._page(deployment))
        }
        self._print_columns(pages | dict(addresses))
        self._console.print(f"\nCreate another deployment:\n  {command}")

    def _print_columns(self, rows: Mapping[str, str]) -> None:
        width = max(map(len, rows))
        for name, text in rows.items():
            self._console.print(f"  {name:{width}}  {text}")

    def _page(self, deployment: Deployment) -> str:
        """Empty while it has no status."""
        return newest_log_url(self._sandbox, deployment).partition("#")[0]

    def _print_status(self, deployment: Deployment, status: Status) -> None:
        if self._brief and status.state == "queued":
            return
        state = Text(f"{status.state:12}", style=_COLORS.get(status.state, "yellow"))
        self._print_line("GitHub", Text.assemble(state, status.description))

    def _print_message(self, channel: Channel, message: Message) -> None:
        lines = render(message, self._sandbox.slack.workspace.names).splitlines()
        lines = _reply(message, lines) if message.is_reply else lines
        fresh = [line for line in lines if line not in self._seen]
        if message.ts not in self._shown and (message.broadcast or not message.is_reply):
            fresh = [lines[0], *(line for line in fresh if line != lines[0])]
        if not fresh or self._skips(message, fresh[0]):
            return
        self._shown.add(message.ts)
        self._seen |= set(fresh)
        remark = _remark(message)
        head = Text.assemble(
            f"#{channel.name:8} {fresh[0]}", (f"  ({remark})" if remark else "", "dim")
        )
        self._print_line("Slack", head)
        for line in fresh[1:]:
            self._console.print(Text(_INDENT + line))

    def _skips(self, message: Message, headline: str) -> bool:
        ended = any(text in headline for text in FINAL_TEXTS)
        return self._brief and (not ended or (message.is_reply and not message.broadcast))

    def _print_line(self, source: str, text: str | Text) -> None:
        seconds = time.monotonic() - self._started
        self._console.print(Text.assemble((f"{seconds:5.1f}s  ", "dim"), f"{source:8} ", text))


def _repository(deployment: Deployment) -> str:
    return deployment.repository.name


def _ref(deployment: Deployment) -> str:
    return deployment.ref if deployment.ref != deployment.sha else deployment.sha[:7]


def _reply(message: Message, lines: Sequence[str]) -> list[str]:
    """Of a reply in the thread, its newest entry; of one that the channel sees, its headline."""
    return [lines[0] if message.broadcast else _TIME.sub("", lines[-1])]


def _remark(message: Message) -> str:
    if message.is_reply:
        return "in its thread, shown in the channel" if message.broadcast else "in its thread"
    return f"edit {message.edits}" if message.edits else ""


def newest_log_url(sandbox: Sandbox, deployment: Deployment) -> str:
    """GitHub's own status, inactive, has none."""
    statuses = sandbox.github.statuses(deployment.id)
    return next((one.log_url for one in reversed(statuses) if one.log_url), "")
