"""Runs a command of the operator's on the relay's machine.

The command runs under a supervisor (supervise.py) that outlives the worker and writes what happened
to `data_dir/runs/{deployment id}`; this handler starts supervisors and reads those files. Two
workers, or one that came back after a crash, may start several supervisors for one run; these
settle among themselves which one runs the command, once.

Source: execve(2), "Limits on size of arguments and environment".
Units: `output_limit` in bytes.
Errors: `Rejected` for values that cannot be passed to a command and for a missing `cwd`;
`Unavailable` if no supervisor could be started.
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar

import structlog
from pydantic import AfterValidator, Field, ValidationError, ValidationInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from handlers import contract
from handlers.contract import Deployment, HandlerContext, Pace, Run, State
from handlers.errors import Rejected, Unavailable
from handlers.inline_code import Code, code_in
from handlers.links import check_link, fill_link
from handlers.options import Template, fill_argument, payload, placeholders, plain
from handlers.preview import CommandPreview, Preview
from handlers.supervision import leftovers, rundir
from handlers.supervision.handover import ForkServer
from handlers.supervision.listener import ends
from handlers.text import one_line

log = structlog.get_logger()

ALWAYS_PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER")
LOST = "lost: the machine running it restarted or its process was killed; it is not started again"
# GitHub makes these up, of hexadecimal and of decimal digits.
SAFE_ANYWHERE = ("sha", "id")
RUNS = "runs"  # in the data directory
MAX_READ = 256 * 1024  # bytes
# Linux accepts no longer argument, and no longer variable with its name; with a NUL at its end.
MAX_STRING = 128 * 1024

_supervisors = ForkServer()  # one for all environments of this process


def _absolute(path: str) -> str:
    if not Path(path).is_absolute():
        raise ValueError(f"'{path}' must be an absolute path")
    return path


def _printable(argument: str) -> str:
    if "\0" in argument:
        raise ValueError("an argument cannot contain a NUL")
    if "{report_token}" in argument:
        raise ValueError(
            "{report_token} would show in the machine's process list; the command"
            " finds it in DEPLOYMENT_REPORT_TOKEN"
        )
    return argument


def _program(argv: list[str]) -> list[str]:
    if not argv[0].strip():
        raise ValueError("the command has no name")
    return argv


def _without_values_in_code(argv: list[str]) -> list[str]:
    """Each error is at its argument."""
    errors = [
        InitErrorDetails(
            type=PydanticCustomError("value_error", "{error}", {"error": message}),
            loc=(code.position,),
            input=argv[code.position],
        )
        for code in code_in(argv)
        if (message := _value_in_code(code, argv[code.position]))
    ]
    if errors:
        raise ValidationError.from_exception_data("run", errors)
    return argv


def _value_in_code(code: Code, argument: str) -> str:
    names = placeholders(argument)
    name = next((it for it in names if not code.is_remote or it not in SAFE_ANYWHERE), None)
    if name is None:
        return ""
    error = f"{{{name}}} would be run as code by {code.program}, whatever somebody puts into it"
    if code.is_remote:
        return (
            f"{error}: a shell over there reads all that follows the host. Only {{sha}} and {{id}}"
            " may stand there; call a script that quotes the rest"
        )
    variable = "PAYLOAD_FILE" if name.startswith("payload.") else name.upper()
    if not code.is_shell:
        return (
            f"{error}; read it from the variable DEPLOYMENT_{variable}, or hand it over as an"
            " argument after the code"
        )
    return (
        f'{error}; write "$DEPLOYMENT_{variable}" there, or hand it over as an argument:'
        f""" [sh, -c, 'echo "$1"', sh, "{{{name}}}"]"""
    )


def _set(names: list[str], info: ValidationInfo) -> list[str]:
    ours = ", ".join(f"'{n}'" for n in names if n.startswith(("GITPLOY_", "DEPLOYMENT_")))
    if ours:
        raise ValueError(f"reserved for the relay, so they cannot be passed on: {ours}")
    environ = (info.context or {}).get("environ", {})
    missing = ", ".join(f"'{name}'" for name in names if name not in environ)
    if missing:
        raise ValueError(f"not set in the relay's environment: {missing}")
    return names


class CommandOptions(contract.Options):
    """`run` is an argv: no shell reads it. `env` names variables to pass besides the usual ones."""

    run: Annotated[
        list[Annotated[Template, AfterValidator(_printable)]],
        Field(min_length=1),
        AfterValidator(_program),
        AfterValidator(_without_values_in_code),
    ]
    cwd: Annotated[str, AfterValidator(_absolute)] | None = None
    env: Annotated[list[str], AfterValidator(_set)] = Field(default_factory=list)
    environment_url: Annotated[Template, AfterValidator(check_link)] | None = None
    output_limit: int = Field(default=1024 * 1024, ge=1024, le=64 * 1024 * 1024)


class Command:
    Options: ClassVar[type[contract.Options]] = CommandOptions
    local: ClassVar[bool] = True
    pace: ClassVar[Pace] = Pace(least=1, most=5)  # besides what is announced
    appears_within: ClassVar[timedelta] = timedelta(0)
    grace = timedelta(seconds=10)  # from SIGTERM to SIGKILL

    def __init__(self, options: CommandOptions, context: HandlerContext) -> None:
        self._options = options
        self._context = context

    @classmethod
    def ended_runs(cls, data_dir: Path, before: datetime) -> Iterable[tuple[int, datetime]]:
        return leftovers.ended_runs(data_dir / RUNS, before)

    @classmethod
    def remove_run(cls, data_dir: Path, deployment_id: int) -> None:
        leftovers.remove(data_dir / RUNS, deployment_id)

    @classmethod
    def ends(cls, context: HandlerContext) -> AsyncGenerator[int]:
        return ends(context.data_dir)

    async def find(self, deployment: Deployment) -> Run | None:
        return await asyncio.to_thread(self._find, deployment)

    async def start(self, deployment: Deployment) -> Run:
        return await asyncio.to_thread(self._start, deployment)

    def preview(self, deployment: Deployment) -> Preview:
        order = self._order(deployment)
        cwd = order.cwd or ""
        missing = f"The directory {cwd} is not there on this machine; without it, nothing starts"
        return Preview(
            calls=(
                CommandPreview(argv=tuple(order.argv), cwd=cwd, variables=tuple(sorted(order.env))),
            ),
            notes=(missing,) if cwd and not Path(cwd).is_dir() else (),
        )

    async def check(self, deployment: Deployment, run: Run) -> Run:
        return await asyncio.to_thread(self._check, deployment)

    async def cancel(self, deployment: Deployment, run: Run) -> None:
        await asyncio.to_thread(self._cancel, deployment)

    async def read_output(self, deployment: Deployment, offset: int) -> bytes:
        return await asyncio.to_thread(self._read_output, deployment, offset)

    def _directory(self, deployment: Deployment) -> Path:
        return self._context.data_dir / RUNS / str(deployment.id)

    def _find(self, deployment: Deployment) -> Run | None:
        return self._check(deployment) if self._directory(deployment).exists() else None

    def _check(self, deployment: Deployment) -> Run:
        directory = self._directory(deployment)
        # In this order: the end is written before the supervisor exits.
        supervised = rundir.supervised(directory)
        end = rundir.read(directory, "end")
        if end:
            return Run(
                str(deployment.id),
                State(end["state"]),
                description=end["description"],
                environment_url=end["environment_url"],
            )
        if supervised:
            return Run(str(deployment.id), State.IN_PROGRESS)
        rundir.kill_orphan(directory)
        return Run(str(deployment.id), State.ERROR, description=LOST)

    def _start(self, deployment: Deployment) -> Run:
        order = self._order(deployment)
        if order.cwd and not Path(order.cwd).is_dir():
            raise Rejected(f"the directory '{order.cwd}' is not there")
        if deployment.deadline <= self._context.clock():
            raise Rejected("the deployment timed out before it was started", code="timed_out")
        order = order._replace(start_by=self._context.require_claim())
        reason = "its run directory has vanished"
        try:
            _supervisors.hand_over(order)
        except OSError as error:
            reason = str(error)
        run = self._find(deployment)
        if run is None:
            self._context.require_claim()
            raise Unavailable(f"the command could not be started: {reason}")
        return run

    def _cancel(self, deployment: Deployment) -> None:
        directory = self._directory(deployment)
        self._context.require_claim()
        # While the lock is held, the pid is the supervisor's and nobody else's.
        supervisor = rundir.read(directory, "supervisor")
        if supervisor and rundir.supervised(directory):
            with suppress(ProcessLookupError):
                os.kill(supervisor["pid"], signal.SIGTERM)

    def _read_output(self, deployment: Deployment, offset: int) -> bytes:
        try:
            with (self._directory(deployment) / "output").open("rb") as file:
                file.seek(offset)
                return file.read(MAX_READ)
        except FileNotFoundError:
            return b""

    def _order(self, deployment: Deployment) -> rundir.Order:
        options = self._options
        directory = self._directory(deployment).absolute()
        return rundir.Order(
            directory=str(directory),
            env=self._environment(deployment, directory),
            argv=[_argument(argument, deployment) for argument in options.run],
            cwd=options.cwd,
            deadline=deployment.deadline.timestamp(),
            timeout=deployment.timeout.total_seconds(),
            grace=self.grace.total_seconds(),
            output_limit=options.output_limit,
            secrets=sorted(self._context.secrets | {deployment.report.token}),
            environment_url=_link(options.environment_url, deployment),
            payload=json.dumps(payload(deployment)),
        )

    def _environment(self, deployment: Deployment, directory: Path) -> dict[str, str]:
        relay = self._context.environ
        passed = {n: relay[n] for n in (*ALWAYS_PASSED, *self._options.env) if n in relay}
        facts = _facts(deployment) | {"PAYLOAD_FILE": str(directory / "payload")}
        given = {f"DEPLOYMENT_{name}": value for name, value in facts.items()}
        # Only the payload can be so long; the command finds it in its file.
        return passed | {n: value for n, value in given.items() if _fits(f"{n}={value}")}


def _fits(text: str) -> bool:
    return len(text.encode()) < MAX_STRING


def _argument(template: str, deployment: Deployment) -> str:
    argument = fill_argument(template, deployment)
    if not _fits(argument):
        raise Rejected(
            f"'{one_line(template, 30)}' is too long for a command's argument; read the payload"
            " from the file that DEPLOYMENT_PAYLOAD_FILE names"
        )
    return argument


def _facts(deployment: Deployment) -> dict[str, str]:
    if deployment.ref.startswith("-"):
        raise Rejected(f"the ref '{deployment.ref}' would be read as an option")
    names = ("environment", "ref", "sha", "task", "repo", "creator")
    facts: dict[str, Any] = {
        name.upper(): plain(f"the {name}", getattr(deployment, name)) for name in names
    }
    return facts | {
        "ID": str(deployment.id),
        "PAYLOAD": json.dumps(payload(deployment)),
        "REPORT_URL": deployment.report.url,
        "REPORT_API": deployment.report.api,
        "REPORT_TOKEN": deployment.report.token,
    }


def _link(template: str | None, deployment: Deployment) -> str:
    """No deployment is refused for a link: where its values make no address, it gets none."""
    try:
        return fill_link(template, deployment) if template else ""
    except Rejected as error:
        log.warning("environment_url left out", reason=str(error))
        return ""
