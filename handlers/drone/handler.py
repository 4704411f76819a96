"""Promotes a build of Drone CI as a deployment, or follows the promotion that Drone makes itself.

Drone promotes whatever build it is told to, so the newest one of the commit that is green is looked
for. Only `start` promotes, since only a start is marked before it is made; while the build is still
to come it has nothing to do. A promotion is found again by the deployment's id, which it carries.

Source: https://docs.drone.io/promote, https://github.com/harness/drone (Drone 2)
Errors: those of http.py; `ToolNotReady` while a green build is to come; `ToolRejected` for what
Drone does not have, allow or trigger.
"""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar, NoReturn

from handlers import contract
from handlers.contract import (
    Deployment,
    Pace,
    Run,
    State,
    ToolNotReady,
    ToolRejected,
    ToolUnavailable,
    Workplace,
)
from handlers.drone.api import Build, Builds, whose_token
from handlers.drone.builds import Seen, is_source, is_source_or_made, look
from handlers.drone.options import DroneOptions
from handlers.drone.parameters import BUILT_FOR, parameters
from handlers.drone.states import how_it_ended, is_blocked, run_of
from handlers.http import only_asking, tls_context
from handlers.placeholders import fill

ROLLBACKS = ("rollback", "deploy:rollback")

_REPO = re.compile(r"(?!\.+/)[\w.-]+/(?!\.+$)[\w.-]+", re.ASCII)


class Drone:
    Options: ClassVar[type[contract.Options]] = DroneOptions
    local: ClassVar[bool] = False
    pace: ClassVar[Pace] = Pace(least=1, most=15)
    # Drone asks GitHub for .drone.yml before it keeps a build.
    appears_within: ClassVar[timedelta] = timedelta(minutes=1)

    def __init__(self, options: DroneOptions, workplace: Workplace) -> None:
        self._options = options
        self._http = workplace.http
        self._tls = tls_context(options.ca) if options.ca else None
        self._native = options.mode == "native"
        self._creates = options.build == "create"
        self._source = is_source_or_made if self._creates else is_source

    async def find(self, deployment: Deployment) -> Run | None:
        builds = self._builds(deployment)
        seen = await look(builds, deployment)
        return _shown(builds, seen.run) if seen.run else None

    async def start(self, deployment: Deployment) -> Run:
        if self._native:
            self._wait_for_drone(deployment)
        builds = self._builds(deployment)
        self._query(deployment)  # what does not fit is refused now, not when the build is green
        with only_asking():
            seen = await look(builds, deployment, self._source)
        if seen.run:
            return _shown(builds, seen.run)
        if self._creates and seen == Seen():
            seen.note(await self._create(builds, deployment))
        if seen.green:
            return await self._promote(builds, deployment, seen.green)
        with only_asking():  # what was created is seen by the next try
            return await self._wait(builds, deployment, seen)

    async def check(self, deployment: Deployment, run: Run) -> Run:
        builds, number = self._builds(deployment), int(run.id)
        try:
            build = await builds.one(number)
        except ToolRejected as refused:
            if refused.status == 404 and await builds.are_visible():
                words = f"Build #{number} is gone from Drone"
                return replace(run, state=State.ERROR, description=words)
            raise ToolUnavailable(str(refused)) from refused
        return run_of(build, run.url, run.state)

    async def cancel(self, deployment: Deployment, run: Run) -> None:
        await self._builds(deployment).kill(int(run.id))

    async def ask(self) -> str:
        options = self._options
        login = await whose_token(self._http, options.url, options.token, self._tls)
        return f"answers as {login}"

    def _builds(self, deployment: Deployment) -> Builds:
        repo = fill(self._options.repo, deployment)
        if not _REPO.fullmatch(repo):
            raise ToolRejected(f"'{repo}' is not a repository of Drone; it is owner/name")
        return Builds(self._http, self._options.url, self._options.token, repo, self._tls)

    async def _wait(self, builds: Builds, deployment: Deployment, seen: Seen) -> Run:
        """What a red build comes to. Errors: `ToolNotReady` while one may yet become green."""
        sha = deployment.sha[:7]
        if seen.open:
            number = seen.open.number
            blocked = is_blocked(await builds.one(number))
            approval = ", which waits for approval" if blocked else ""
            words = f"Waiting for Drone's build #{number} of {sha}{approval}"
            raise ToolNotReady(words, held=blocked)
        if seen.red:
            number, ended = seen.red.number, how_it_ended(seen.red)
            words = f"Build #{number} of {sha} {ended}, so it is not promoted: restart or mend it"
            return Run(str(number), State.ERROR, builds.page_of(number), words)
        if self._is_late(deployment):
            words = f"Drone has no push or tag build of {sha}"
            raise ToolRejected(f"{words}: push it, or set 'build: create' in deploy.yml")
        raise ToolNotReady(f"Waiting for the Drone build of {sha}")

    async def _promote(self, builds: Builds, deployment: Deployment, source: Build) -> Run:
        if deployment.deadline <= datetime.now(UTC):
            raise ToolRejected("the time for it was over before it was started")
        query = self._query(deployment)
        verb = "rollback" if deployment.task in ROLLBACKS else "promote"
        made = await builds.promote(source.number, verb, query)
        if made is None:
            by = "a rollback to" if verb == "rollback" else "target"
            raise ToolRejected(f"no Drone pipeline is triggered by {by} '{query['target']}'")
        return _shown(builds, made)

    def _query(self, deployment: Deployment) -> dict[str, str]:
        options = self._options
        carried = parameters(options.parameters, deployment, with_payload=options.payload)
        return {**carried, "target": fill(options.target, deployment)}

    async def _create(self, builds: Builds, deployment: Deployment) -> Build:
        query = {"commit": deployment.sha, BUILT_FOR: str(deployment.id)}
        if self._options.branch:
            query["branch"] = fill(self._options.branch, deployment)
        made = await builds.create(query)
        if made is None:
            raise ToolRejected("no Drone pipeline is triggered by the event 'custom'")
        return made

    def _wait_for_drone(self, deployment: Deployment) -> NoReturn:
        if not self._is_late(deployment):
            raise ToolNotReady("Waiting for Drone to start it by itself")
        raise ToolRejected(
            f"Drone started no build by itself: its webhook needs the event 'Deployments', its"
            f" .drone.yml a pipeline for '{deployment.environment}'"
        )

    def _is_late(self, deployment: Deployment) -> bool:
        return datetime.now(UTC) > deployment.started_at + self._options.start_within


def _shown(builds: Builds, build: Build) -> Run:
    return run_of(build, builds.page_of(build.number))
