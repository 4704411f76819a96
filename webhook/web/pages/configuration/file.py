"""deploy.yml as the relay uses it: which one, since when, and who uses another."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from webhook.config.changes import Changes
from webhook.config.environments import Config
from webhook.errors import ConfigErrors
from webhook.logs import Redactor
from webhook.presence import RelayProcess
from webhook.reloading import LocalConfig
from webhook.store.workers import RunningWorker
from webhook.web.pages.elements import Moment, line, moment

# Of the errors of one file.
_MOST_ERRORS = 20
_MOST_WORKERS = 100
_SHORT = 8


@dataclass(frozen=True, slots=True)
class State:
    """As of a label."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessView:
    """`own`: it has made this page. `elsewhere`: no signal leads there."""

    name: str
    own: bool
    digest: str
    label: State
    since: Moment | None
    elsewhere: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerView:
    machine: str
    here: bool
    digest: str
    label: State
    version: str
    started_at: Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedView:
    """A reload that failed. `more`: errors that are left out."""

    name: str
    at: Moment
    errors: tuple[str, ...]
    more: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskView:
    """The file as it is on disk now. `text`: what it is compared with the one in use; `errors`: why
    a reload would not take it."""

    label: State
    text: str
    errors: tuple[str, ...] = ()
    more: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FileView:
    """`others`: names of those that use another deploy.yml than the process that made the page."""

    source: str
    digest: str
    since: Moment | None
    disk: DiskView
    rejected: tuple[RejectedView, ...]
    processes: tuple[ProcessView, ...]
    workers: tuple[WorkerView, ...]
    others: tuple[str, ...]


def build_file(
    config: Config, local: LocalConfig, workers: Sequence[RunningWorker], redactor: Redactor
) -> FileView:
    found = local.processes()
    shown = [_process(config, one, own=index == 0) for index, one in enumerate(found)]
    working = [_worker(config, one, local.machine_id) for one in workers[:_MOST_WORKERS]]
    own = next((one.since for one in shown if one.own), None)
    return FileView(
        source=line(redactor.text(str(Path(config.source).absolute()))),
        digest=config.digest[:_SHORT],
        since=own,
        disk=_disk(config, local, redactor),
        rejected=tuple(_rejected(found, redactor)),
        processes=tuple(shown),
        workers=tuple(working),
        others=tuple(_others(shown, working)),
    )


def _label(config: Config, digest: str) -> State:
    return State("good", "this file") if digest == config.digest else State("error", "another file")


def _process(config: Config, one: RelayProcess, *, own: bool) -> ProcessView:
    # This process may not have been able to write down which one it uses.
    digest = config.digest if own else one.digest
    return ProcessView(
        name=one.name,
        own=own,
        digest=digest[:_SHORT],
        label=_label(config, digest),
        since=_at(one.used_since or one.read_at),
        elsewhere=not one.is_reachable,
    )


def _worker(config: Config, one: RunningWorker, machine_id: str) -> WorkerView:
    return WorkerView(
        machine=one.machine_id[:_SHORT],
        here=one.machine_id == machine_id,
        digest=one.config_digest[:_SHORT],
        label=_label(config, one.config_digest),
        version=line(one.version),
        started_at=moment(one.started_at),
    )


def _others(processes: Iterable[ProcessView], workers: Iterable[WorkerView]) -> Iterator[str]:
    yield from (f"{one.name} here" for one in processes if one.label.kind != "good")
    named = (one for one in workers if one.label.kind != "good")
    yield from dict.fromkeys(
        f"a worker {'here' if one.here else f'of machine {one.machine}'}" for one in named
    )


def _rejected(processes: Iterable[RelayProcess], redactor: Redactor) -> Iterator[RejectedView]:
    for one in processes:
        at = _at(one.read_at)
        if one.errors and at:
            errors, more = _cut(one.errors, redactor)
            yield RejectedView(name=one.name, at=at, errors=errors, more=more)


def _disk(config: Config, local: LocalConfig, redactor: Redactor) -> DiskView:
    try:
        on_disk = local.read()
    except ConfigErrors as error:
        errors, more = _cut(error.errors, redactor)
        text = "A reload would not take it; what is in use stays so. A restart would fail."
        label = State("bad", "has errors")
        return DiskView(label=label, text=text, errors=errors, more=more)
    if on_disk.digest == config.digest:
        return DiskView(label=State("good", "as it is in use"), text="")
    hidden = Redactor(on_disk.secrets).text(str(Changes.between(config, on_disk)))
    text = f"It has no errors, and {redactor.text(hidden)}. It counts after a reload."
    return DiskView(label=State("waiting", "edited since"), text=line(text))


def _cut(errors: Sequence[str], redactor: Redactor) -> tuple[tuple[str, ...], int]:
    shown = tuple(line(redactor.text(one)) for one in errors[:_MOST_ERRORS])
    return shown, len(errors) - len(shown)


def _at(seconds: float) -> Moment | None:
    return moment(datetime.fromtimestamp(seconds, UTC)) if seconds else None
