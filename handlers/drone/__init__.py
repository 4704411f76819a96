"""Drone CI 2: promotes a build as a deployment, or follows a promotion by Drone itself.

Drone promotes any build that it is given, so the handler searches the newest green one of the
commit. Only `start` promotes, since only a start is recorded in advance; while the build is
not there yet, `start` has nothing to do. A promotion carries the deployment's id, by which it is
found again.

Source: https://docs.drone.io/promote, https://github.com/harness/drone (Drone 2)
Errors: those of http.py; `NotReady` until there is a green build; `Rejected` for what Drone does
not have, allow or trigger, and for a build that is gone (404).
"""

import re
from datetime import timedelta
from typing import ClassVar, NoReturn

from handlers import contract, durations
from handlers.contract import Deployment, HandlerContext, Pace, Run, State
from handlers.drone.api import Build, Builds, token_owner
from handlers.drone.builds import (
    FoundBuilds,
    find_builds,
    is_blocked,
    is_source,
    is_source_or_created,
    outcome,
    run_of,
)
from handlers.drone.options import BUILT_FOR, DroneOptions, parameters
from handlers.errors import NotReady, Rejected, Unavailable
from handlers.http import read_only, tls_context
from handlers.options import fill
from handlers.preview import HttpPreview, Preview

ROLLBACKS = ("rollback", "deploy:rollback")
# Drone returns `null` then, too. Source: trigger/trigger.go in harness/drone.
OR_SKIPPED = ", or the repository's owner is inactive in Drone, or an extension skips it"

_REPO = re.compile(r"(?!\.+/)[\w.-]+/(?!\.+$)[\w.-]+", re.ASCII)


class Drone:
    Options: ClassVar[type[contract.Options]] = DroneOptions
    local: ClassVar[bool] = False
    pace: ClassVar[Pace] = Pace(least=1, most=15)
    # Drone fetches .drone.yml from GitHub before it stores a build.
    appears_within: ClassVar[timedelta] = timedelta(minutes=1)

    def __init__(self, options: DroneOptions, context: HandlerContext) -> None:
        self._options = options
        self._http = context.http
        self._clock = context.clock
        self._tls = tls_context(options.ca) if options.ca else None
        self._native = options.mode == "native"
        self._creates = options.build == "create"
        self._source = is_source_or_created if self._creates else is_source

    async def find(self, deployment: Deployment) -> Run | None:
        builds = self._builds(deployment)
        found = await find_builds(builds, deployment)
        return _run(builds, found.run) if found.run else None

    async def start(self, deployment: Deployment) -> Run:
        if self._native:
            self._wait_for_drone(deployment)
        builds = self._builds(deployment)
        self._query(deployment)  # what does not fit is rejected now, not when the build is green
        with read_only():
            found = await find_builds(builds, deployment, self._source)
        if found.run:
            return _run(builds, found.run)
        if self._creates and found == FoundBuilds():
            found.add(await self._create(builds, deployment))
        if found.green:
            return await self._promote(builds, deployment, found.green)
        with read_only():  # a build created above is found by the next try
            return await self._wait(builds, deployment, found)

    async def check(self, deployment: Deployment, run: Run) -> Run:
        builds, number = self._builds(deployment), int(run.id)
        try:
            build = await builds.one(number)
        except Rejected as error:
            if error.status == 404 and await builds.are_visible():
                raise Rejected(f"Build #{number} is gone from Drone", status=404) from error
            raise Unavailable(str(error), code=error.code) from error
        return run_of(build, run.url, run.state)

    async def cancel(self, deployment: Deployment, run: Run) -> None:
        await self._builds(deployment).kill(int(run.id))

    async def verify_access(self) -> str:
        options = self._options
        login = await token_owner(self._http, options.url, options.token, self._tls)
        return f"signed in as {login}"

    def _builds(self, deployment: Deployment) -> Builds:
        repo = fill(self._options.repo, deployment)
        if not _REPO.fullmatch(repo):
            raise Rejected(f"'{repo}' is not a Drone repository; write owner/name")
        return Builds(self._http, self._options.url, self._options.token, repo, self._tls)

    async def _wait(self, builds: Builds, deployment: Deployment, found: FoundBuilds) -> Run:
        """The run of a red build, which ends it. Errors: `NotReady` while one may become green."""
        sha = deployment.sha[:7]
        if found.open:
            number = found.open.number
            blocked = is_blocked(await builds.one(number))
            approval = ", which waits for approval" if blocked else ""
            message = f"Waiting for Drone's build #{number} of {sha}{approval}"
            raise NotReady(message, held=blocked)
        if found.red:
            number, ended = found.red.number, outcome(found.red)
            description = (
                f"Build #{number} of {sha} {ended}, so it is not promoted: restart or fix it"
            )
            return Run(str(number), State.ERROR, builds.page_of(number), description)
        if self._is_late(deployment):
            message = f"Drone has no push or tag build of {sha}"
            raise Rejected(f"{message}: push it, or set 'build: create' in deploy.yml")
        raise NotReady(f"Waiting for the Drone build of {sha}")

    async def _promote(self, builds: Builds, deployment: Deployment, source: Build) -> Run:
        if deployment.deadline <= self._clock():
            raise Rejected("the deployment timed out before it was started", code="timed_out")
        query, verb = self._query(deployment), _verb(deployment)
        created = await builds.promote(source.number, verb, query)
        if created is None:
            by = "a rollback to" if verb == "rollback" else "target"
            message = f"no Drone pipeline is triggered by {by} '{query['target']}'"
            raise Rejected(message + OR_SKIPPED)
        return _run(builds, created)

    def _query(self, deployment: Deployment) -> dict[str, str]:
        options = self._options
        carried = parameters(options.parameters, deployment, with_payload=options.payload)
        return {**carried, "target": fill(options.target, deployment)}

    def preview(self, deployment: Deployment) -> Preview:
        if self._native:
            return Preview(notes=("Nothing is sent: Drone's own webhook starts the build",))
        builds, sha = self._builds(deployment), deployment.sha[:7]
        query = self._query(deployment)
        promotion = HttpPreview.of(builds.to_promote("NUMBER", _verb(deployment), query))
        if self._creates:
            creation = HttpPreview.of(builds.to_create(self._creation(deployment)))
            note = f"Drone is asked for its builds of {sha} first; one is made if it has none, and"
            note += " the newest green one is promoted: NUMBER"
            return Preview(calls=(creation, promotion), notes=(note,))
        within = durations.write(self._options.start_within.total_seconds())
        note = f"Drone is asked first for its newest green push or tag build of {sha}: NUMBER"
        late = (
            f"While that runs, nothing is sent; if there is none in {within}, it ends as an error"
        )
        return Preview(calls=(promotion,), notes=(note, late))

    def _creation(self, deployment: Deployment) -> dict[str, str]:
        query = {"commit": deployment.sha, BUILT_FOR: str(deployment.id)}
        if self._options.branch:
            query["branch"] = fill(self._options.branch, deployment)
        return query

    async def _create(self, builds: Builds, deployment: Deployment) -> Build:
        created = await builds.create(self._creation(deployment))
        if created is None:
            raise Rejected(f"no Drone pipeline is triggered by the event 'custom'{OR_SKIPPED}")
        return created

    def _wait_for_drone(self, deployment: Deployment) -> NoReturn:
        if not self._is_late(deployment):
            raise NotReady("Waiting for Drone to start it by itself")
        raise Rejected(
            f"Drone started no build by itself: its webhook needs the event 'Deployments', its"
            f" .drone.yml a pipeline for '{deployment.environment}'"
        )

    def _is_late(self, deployment: Deployment) -> bool:
        return self._clock() > deployment.started_at + self._options.start_within


def _verb(deployment: Deployment) -> str:
    return "rollback" if deployment.task in ROLLBACKS else "promote"


def _run(builds: Builds, build: Build) -> Run:
    return run_of(build, builds.page_of(build.number))
