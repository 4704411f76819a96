"""Thousands of deployments that wait for a tool, and one worker.

script/bench --latency --in-flight 10000 [--tool drone | github-actions] [--seconds 60]

One deployment is followed to where its run is in progress; the others get its rows, with ids of
their own, as its stand-in gets their runs. Then: how often they are checked, how late, at what
price, and how soon the relay acts on what happens meanwhile. They begin evenly spread.
"""

import asyncio
import itertools
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.cloning import clone
from benchmarks.percentiles import percentiles
from benchmarks.store_counts import Store
from benchmarks.whole_relay import Relay, relay
from sandbox.drone import Build, Drone
from sandbox.drone import Repo as DroneRepo
from sandbox.github.model import Deployment, Repository, Status
from sandbox.github.server import GitHub
from sandbox.github_actions.model import Job, WorkflowRun
from sandbox.sandbox import Sandbox, free_ports
from sandbox.server import Call
from webhook.timing import DEFAULT_TIMING

REPOSITORIES = 100
FRESH = "acme/fresh"
# Far from any other number, and from each other.
FIRST_ID, FIRST_CLONE, FIRST_BUILD = 700_000_001, 800_000_001, 600_000_001
SETTLES_WITHIN = 30
RECOVERS_WITHIN = 120
EVENT_EVERY = 3.0
MB = 10**6
Json = dict[str, Any]


# A stand-in whose runs stay in progress has
#   due_within  how far apart checks of a run are
#   clone       makes the run of a clone, and returns the texts that differ from the original's
#   checked     the run that a call is about, "" if it is about many
#   end_one     ends a run of which the relay gets an event, and returns its deployment


class DroneRuns(Drone):
    due_within = timedelta(seconds=15)

    def __init__(self, github: GitHub) -> None:
        super().__init__(takes=None)
        self.server = self
        self._numbers = itertools.count(FIRST_BUILD, 1000)
        self._original: Build | None = None

    @property
    def with_(self) -> str:
        return f"drone, with: {{url: '{self.url}', token: '{self.token}'}}"

    def prepare(self, repository: Repository) -> None:
        repo = self.add_repo(repository.full_name)
        repo.counter = next(self._numbers)
        self.add_build(repository.full_name, repository.sha("main"))

    def _schedule(self, repo: DroneRepo, build: Build) -> None:
        build.set_status("running")

    def clone(self, original: Deployment, deployment: Deployment) -> Mapping[str, str]:
        build = self._original or self.repos[original.repository.full_name].builds[-1]
        self._original = build
        number = FIRST_CLONE + deployment.id
        texts = {str(original.id): str(deployment.id), str(build.number): str(number)}
        params = {name: _changed(value, texts) for name, value in build.params.items()}
        twin = replace(build, number=number, params=params)
        self.repos[deployment.repository.full_name].builds.append(twin)
        return texts

    def checked(self, call: Call) -> str | None:
        match = re.search(r"/builds(?:/(\d+))?$", call.path)
        return (match[1] or "") if match and call.method == "GET" else None

    def end_one(self) -> int | None:
        return None  # Drone sends no events


class ActionsRuns:
    due_within = timedelta(minutes=2)
    with_ = "github-actions, with: {status_within: 0s}"

    def __init__(self, github: GitHub) -> None:
        self.server = github
        self._actions = github.actions
        self._actions.runs.paused = True
        self._clones: list[WorkflowRun] = []

    async def __aenter__(self) -> "ActionsRuns":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    def prepare(self, repository: Repository) -> None:
        title = "Deploy #${{ github.event.deployment.id }}"
        self._actions.add_workflow(repository.full_name, run_name=title, jobs=[Job()])

    def clone(self, original: Deployment, deployment: Deployment) -> Mapping[str, str]:
        runs = self._actions.runs.by_id
        run = next(run for run in runs.values() if run.deployment is original)
        [workflow] = [w for w in self._actions.workflows if w.repository is deployment.repository]
        [job] = run.jobs
        texts = {
            str(original.id): str(deployment.id),
            str(run.id): str(FIRST_CLONE + deployment.id),
            str(job.id): str(FIRST_CLONE * 10 + deployment.id),
            str(run.workflow.id): str(workflow.id),
        }
        twin = copy(run)
        twin.id, twin.workflow, twin.deployment = int(texts[str(run.id)]), workflow, deployment
        twin.title, twin.head_sha = _changed(run.title, texts), deployment.sha
        twin.jobs = [replace(job, id=int(texts[str(job.id)]))]
        runs[twin.id] = twin
        self._clones.append(twin)
        return texts

    def begin(self) -> None:
        for run in list(self._actions.runs.by_id.values()):
            if run.status == "queued":
                self._actions.runs.begin(run)

    def checked(self, call: Call) -> str | None:
        match = re.search(r"/actions/(?:.*/)?runs(?:/(\d+)(?:/jobs)?)?$", call.path)
        return (match[1] or "") if match and call.method == "GET" else None

    def end_one(self) -> int | None:
        run = self._clones.pop()
        assert run.deployment is not None
        self._actions.runs.finish(run)
        return run.deployment.id


def _changed(text: str, texts: Mapping[str, str]) -> str:
    for old, new in texts.items():
        text = text.replace(old, new)
    return text


TOOLS: Mapping[str, Any] = {"drone": DroneRuns, "github-actions": ActionsRuns}


class Fleet:
    def __init__(self, tool: str) -> None:
        self.sandbox = Sandbox()
        self.github = self.sandbox.github
        self.github.world.ids = itertools.count(FIRST_ID)
        self.github.rate_limits.per_hour = 10**9
        names = [FRESH, *(f"acme/fleet-{number:03}" for number in range(REPOSITORIES))]
        self.repositories = [self.github.add_repository(name) for name in names]
        self.sandbox.installation.repositories += self.repositories
        self.tool: Any = TOOLS[tool](self.github)
        for repository in self.repositories:
            self.tool.prepare(repository)
        self.arrived: dict[tuple[int, str], float] = {}
        self.github.on_status.append(self._on_status)

    @property
    def deploy_yml(self) -> str:
        handler, _, options = self.tool.with_.partition(", ")
        lines = ["envs:", "  - name: production", f"    handler: {handler}", "    timeout: 3h"]
        lines.append("    serialization: false")
        lines += [f"    {options}"] if options else []
        return "\n".join([*lines, f"    slack: {{channel: {self.sandbox.deploys.id}}}\n"])

    async def deploy(self, repository: Repository) -> Deployment:
        return await self.github.create_deployment(
            repository.full_name, environment="production", required_contexts=[]
        )

    def clones(self, original: Deployment, count: int) -> Iterator[Mapping[str, str]]:
        """The texts that differ in each, which exists at the stand-ins then."""
        ids = itertools.count(FIRST_CLONE)
        for number in range(count):
            repository = self.repositories[1 + number % REPOSITORIES]
            twin = replace(original, id=next(ids), repository=repository)
            twin.sha = f"{twin.id:040x}"
            twin.statuses = [replace(status, id=next(ids)) for status in original.statuses]
            self.github.world.deployments[twin.id] = twin
            statuses = zip(original.statuses, twin.statuses, strict=True)
            yield {
                **self.tool.clone(original, twin),
                **{str(before.id): str(after.id) for before, after in statuses},
                original.sha: twin.sha,
                original.repository.full_name: repository.full_name,
                str(original.repository.id): str(repository.id),
            }

    def _on_status(self, deployment: Deployment, status: Status) -> None:
        self.arrived.setdefault((deployment.id, status.state), time.monotonic())


async def measure(count: int, tool: str, seconds: float) -> Json:
    async with _filled(count, tool) as (fleet, started, store):
        await started.start("worker")
        recovered = await _recovered(store)
        before, cpu = store.counts(), started.cpu()
        calls_before, began = len(fleet.tool.server.calls), time.monotonic()
        lags, rss, events = await _watched(fleet, started, store, seconds)
        lasted = time.monotonic() - began
        used = {name: value - cpu[name] for name, value in started.cpu().items()}
        calls = fleet.tool.server.calls[calls_before:]
        gained = store.counts().since(before)
        return {
            "in_flight": count,
            "tool": tool,
            "recovered_s": recovered,
            "seconds": round(lasted, 1),
            **(checks := _checks(fleet, calls, count, lasted)),
            "worker_ms_per_check": round(
                used["worker"] * 1000 / max(1, checks["checks_per_second"] * lasted), 1
            ),
            "lag_s": {"p50": sorted(lags)[len(lags) // 2], "max": max(lags), "last": lags[-1]},
            "event_ms": events,
            "cpu_percent": {name: round(v / lasted * 100, 1) for name, v in used.items()},
            "rss_mb": {name: round(value / MB, 1) for name, value in rss.items()},
            "each_second": {name: round(v / lasted) for name, v in gained.totals.items()},
            "tables": {
                name: {"ins": i, "upd": u, "del": d, "bytes": size}
                for name, (i, u, d, size) in gained.tables.items()
                if i or u or d or size
            },
        }


@asynccontextmanager
async def _filled(count: int, tool: str) -> AsyncIterator[tuple[Fleet, Relay, Store]]:
    """Without a worker yet."""
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as name:
        folder = Path(name)
        fleet = Fleet(tool)
        async with fleet.sandbox, fleet.tool:
            [port] = free_ports(1)
            config = folder / "deploy.yml"
            config.write_text(fleet.deploy_yml)
            environ = fleet.sandbox.environ(folder / "data", config, port)
            async with relay(environ, folder, port, workers=1) as started:
                original = await _original(fleet)
                await started.stop("worker")
                await asyncio.to_thread(
                    clone,
                    started.url,
                    original.id,
                    list(fleet.clones(original, count)),
                    ages=timedelta(minutes=20),
                    due_within=max(
                        fleet.tool.due_within,
                        timedelta(seconds=count / DEFAULT_TIMING.checks_a_second),
                    ),
                )
                store = Store(started.url)
                yield fleet, started, store
                store.close()


async def _recovered(store: Store) -> float:
    """Seconds until nothing was overdue any more that was when the worker started."""
    began = time.monotonic()
    await asyncio.sleep(SETTLES_WITHIN / 3)
    while True:
        lasted = time.monotonic() - began
        if store.lag() < 1 or lasted > RECOVERS_WITHIN:
            return round(lasted, 1)
        await asyncio.sleep(1)


async def _original(fleet: Fleet) -> Deployment:
    original = await fleet.deploy(fleet.repositories[1])
    if isinstance(fleet.tool, ActionsRuns):
        await fleet.github.wait_for(original.id, "queued")
        fleet.tool.begin()
    await fleet.github.wait_for(original.id, "in_progress", within=SETTLES_WITHIN)
    await asyncio.sleep(SETTLES_WITHIN / 3)  # for its reply in the thread
    return original


async def _watched(
    fleet: Fleet, started: Relay, store: Store, seconds: float
) -> tuple[list[float], dict[str, int], Json]:
    lags: list[float] = []
    rss: dict[str, int] = defaultdict(int)
    began: dict[str, dict[int, float]] = {"new deployment": {}, "end of a run": {}}
    until, next_event = time.monotonic() + seconds, 0.0
    while (now := time.monotonic()) < until:
        lags.append(round(store.lag(), 2))
        for name, size in started.rss().items():
            rss[name] = max(rss[name], size)
        if now > next_event:
            next_event = now + EVENT_EVERY
            fresh = await fleet.deploy(fleet.repositories[0])
            began["new deployment"][fresh.id] = now
            ended = fleet.tool.end_one()
            if ended is not None:
                began["end of a run"][ended] = now
        await asyncio.sleep(1)
    await asyncio.sleep(EVENT_EVERY)
    states = {"new deployment": "queued", "end of a run": "success"}
    return (
        lags,
        dict(rss),
        {
            what: {
                "sent": len(ids),
                **percentiles(
                    [
                        fleet.arrived[id_, states[what]] - at
                        for id_, at in ids.items()
                        if (id_, states[what]) in fleet.arrived
                    ]
                ),
            }
            for what, ids in began.items()
            if ids
        },
    )


def _checks(fleet: Fleet, calls: list[Call], count: int, lasted: float) -> Json:
    times: dict[str, list[float]] = defaultdict(list)
    lists = 0
    for call in calls:
        run = fleet.tool.checked(call)
        if run:
            times[run].append(call.time)
        lists += run == ""
    gaps = [b - a for of in times.values() for a, b in itertools.pairwise(of)]
    return {
        "checks_per_second": round(sum(map(len, times.values())) / lasted, 1),
        "lists_per_second": round(lists / lasted, 1),
        "never_checked": max(0, count - len(times)),
        "between_checks_ms": percentiles(gaps),
    }
