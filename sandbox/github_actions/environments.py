"""Environments of jobs: their deployments, and the App's deployment protection rule.

A job with an environment has a deployment, of which GitHub reports the states. Where the rule of
the App is enabled the job waits, GitHub asks the App, and one decision is for all jobs of the run
that wait for that environment. What GitHub answers to an answer that it does not take is not
documented.

Source: https://docs.github.com/actions/how-tos/deploy/configure-and-manage-deployments and
https://docs.github.com/rest/actions/workflow-runs
"""

from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from sandbox.github.auth import Auth, Caller
from sandbox.github.deployments import Deployments
from sandbox.github.documents import CREATED_AT, Documents, node
from sandbox.github.events import Events
from sandbox.github.model import Account, ErrorResponse, Json, Repository, Status, World
from sandbox.github.request import body_of, required
from sandbox.github.webhooks import Webhooks
from sandbox.github_actions.documents import ActionsDocuments
from sandbox.github_actions.model import BOT, JobRun, WorkflowRun
from sandbox.github_actions.runs import Runs

RUN = "/repos/{owner}/{repo}/actions/runs/{id:\\d+}"
MOST_COMMENTS, LONGEST_COMMENT = 10, 1024
DECISIONS = ("approved", "rejected")


@dataclass(frozen=True, slots=True)
class Review:
    """`state`: pending is that of a comment without a decision. `attempt`: of the run."""

    environment: str
    state: str
    user: Account
    comment: str
    attempt: int


@dataclass(slots=True)
class Environments:
    """`rules`: (repository's ID, environment in lower case) with the App's rule. `reviews`: of each
    run, oldest first. `rule_first`: the event of the rule comes before that of the deployment."""

    world: World
    documents: Documents
    actions: ActionsDocuments
    events: Events
    auth: Auth
    hooks: Webhooks
    runs: Runs
    deployments: Deployments | None = None
    rules: set[tuple[int, str]] = field(default_factory=set)
    reviews: dict[int, list[Review]] = field(default_factory=dict)
    rule_first: bool = False

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(RUN + "/deployment_protection_rule", self._review),
            web.get(RUN + "/approvals", self._approvals),
            web.get(RUN + "/pending_deployments", self._pending),
        ]

    def enable_rule(self, repository: str, environment: str) -> None:
        """As somebody does it who administers the repository."""
        self.rules.add((self.world.repository(repository).id, environment.lower()))

    def comments(self, run: WorkflowRun, state: str = "pending") -> list[str]:
        return [one.comment for one in self.reviews.get(run.id, []) if one.state == state]

    def bypass(self, run: WorkflowRun, by: Account) -> None:
        """An administrator starts all that waits."""
        for name in _names(run):
            self._decide(run, Review(name, "approved", by, "", run.attempt))

    def expire(self, run: WorkflowRun) -> None:
        """Nobody has answered for 30 days."""
        self.runs.finish(run, "failure")

    # -- what becomes of a job ----------------------------------------------------------------

    def reach(self, run: WorkflowRun, job: JobRun) -> bool:
        """Whether it waits for the answer to the rule."""
        name = job.job.environment
        if not name:
            return False
        waits = (run.repository.id, name.lower()) in self.rules
        if job.job.creates_deployment and self.deployments is not None:
            job.deployment = self.deployments.add(
                Caller(BOT),
                run.repository,
                {"ref": run.head_branch or run.head_sha, "environment": name, **_AS_IT_IS},
                {key: value for key, value in self.actions.run(run).items() if key in _OF_RUN},
            )
        send = [self._send_deployment, self._ask] if waits else [self._send_deployment]
        for each in reversed(send) if self.rule_first else send:
            each(run, job)
        if waits:
            self.report(run, job, "waiting")
        return waits

    def report(self, run: WorkflowRun, job: JobRun, state: str) -> None:
        """As GitHub does: only here can a state be `waiting`."""
        if job.deployment is None or self.deployments is None:
            return
        document = self.actions.run(run)
        status = Status(
            id=self.world.id(),
            state=state,
            description="",
            environment=job.deployment.environment,
            environment_url="",
            log_url=f"{document['html_url']}/job/{job.id}",
            creator=BOT,
            by_app=False,
            workflow=self.actions.workflow(run.workflow),
            workflow_run=document,
            created_at=self.world.now(),
        )
        self.deployments.add_status(job.deployment, status)

    def _send_deployment(self, run: WorkflowRun, job: JobRun) -> None:
        if job.deployment is not None:
            self.hooks.send("deployment", self.events.deployment(job.deployment))

    def _ask(self, run: WorkflowRun, job: JobRun) -> None:
        self.hooks.send("deployment_protection_rule", self.request(run, job))

    def request(self, run: WorkflowRun, job: JobRun) -> Json:
        """The body of the event."""
        url = f"{self.actions.run(run)['url']}/deployment_protection_rule"
        return {
            "action": "requested",
            "environment": job.job.environment,
            "event": run.event,
            "sha": run.head_sha,
            "ref": f"refs/heads/{run.head_branch}" if run.head_branch else run.head_sha,
            "deployment_callback_url": url,
            "deployment": job.deployment and self.documents.deployment(job.deployment),
            "pull_requests": [],
            **self.events.common_fields(run.repository, run.triggering_actor or run.actor),
        }

    def _decide(self, run: WorkflowRun, review: Review) -> None:
        self.reviews.setdefault(run.id, []).append(review)
        jobs = [job for job in _waiting(run) if _is(job, review.environment)]
        if review.state == "rejected":
            self.runs.finish(run, "failure")
        else:
            for job in jobs:
                self.report(run, job, "queued")
            self.runs.release(run, jobs)

    # -- the API --------------------------------------------------------------------------------

    async def _review(self, request: web.Request) -> web.Response:
        caller, run = self._run(request)
        if caller.token is None or not caller.has_permission("deployments", "write"):
            raise ErrorResponse(403, "Resource not accessible by integration")
        body = await body_of(request)
        name = required(body, "environment_name")
        state, comment = body.get("state"), body.get("comment", "")
        if "state" in body and state not in DECISIONS:
            raise ErrorResponse(422, "Invalid request.\n\nstate must be approved or rejected.")
        if "state" not in body and not comment:
            raise ErrorResponse(422, 'Invalid request.\n\n"comment" wasn\'t supplied.')
        # What it counts as a character is not documented; so few bytes are few in any case.
        if not isinstance(comment, str) or len(comment.encode()) > LONGEST_COMMENT:
            raise ErrorResponse(422, "comment is too long (maximum is 1024 characters)")
        if not any(_is(job, name) for job in _waiting(run)) or not self._is_ours(run, name):
            raise ErrorResponse(422, "There is no pending deployment protection rule")
        review = Review(name, state or "pending", caller.account, comment, run.attempt)
        if state is None:
            self._comment(run, review)
        else:
            self._decide(run, review)
        return web.Response(status=204)

    def _comment(self, run: WorkflowRun, review: Review) -> None:
        reviews = self.reviews.setdefault(run.id, [])
        earlier = [
            one
            for one in reviews
            if (one.environment.lower(), one.state, one.attempt)
            == (review.environment.lower(), "pending", run.attempt)
        ]
        if len(earlier) >= MOST_COMMENTS:
            raise ErrorResponse(422, "The maximum number of status reports was reached")
        reviews.append(review)

    def _is_ours(self, run: WorkflowRun, name: str) -> bool:
        return (run.repository.id, name.lower()) in self.rules

    async def _approvals(self, request: web.Request) -> web.Response:
        _, run = self._run(request)
        return web.json_response(
            [
                {
                    "environments": [self._environment(run.repository, one.environment)],
                    "state": one.state,
                    "user": self.documents.account(one.user),
                    "comment": one.comment,
                }
                for one in self.reviews.get(run.id, [])
            ]
        )

    async def _pending(self, request: web.Request) -> web.Response:
        _, run = self._run(request)
        return web.json_response(
            [
                {
                    "environment": self._environment(run.repository, name),
                    "wait_timer": 0,
                    "wait_timer_started_at": None,
                    "current_user_can_approve": False,
                    "reviewers": [],
                }
                for name in _names(run)
            ]
        )

    def _environment(self, repository: Repository, name: str) -> dict[str, Any]:
        number = repository.id * 100 + len(name)
        url = f"{self.documents.api}/repos/{repository.full_name}/environments/{name}"
        return {
            "id": number,
            "node_id": node("EN", number),
            "name": name,
            "url": url,
            "html_url": url.replace("/api/v3/repos/", "/"),
            "created_at": CREATED_AT,
            "updated_at": CREATED_AT,
        }

    def _run(self, request: web.Request) -> tuple[Caller, WorkflowRun]:
        caller, repository = self.auth.authorize(request, "actions", "read")
        run = self.runs.by_id.get(int(request.match_info["id"]))
        if run is None or run.repository is not repository:
            raise ErrorResponse(404, "Not Found")
        return caller, run


# What the event of a deployment says of the run.
_OF_RUN = (
    *("id", "node_id", "name", "head_branch", "head_sha", "path", "display_title", "run_number"),
    *("run_attempt", "event", "status", "workflow_id", "check_suite_id", "url", "html_url"),
    *("created_at", "updated_at", "run_started_at", "actor", "triggering_actor"),
)
_AS_IT_IS: Json = {"auto_merge": False, "required_contexts": []}


def _waiting(run: WorkflowRun) -> list[JobRun]:
    return [job for job in run.jobs if job.status == "waiting" and job.job.environment]


def _names(run: WorkflowRun) -> list[str]:
    """Of environments in which jobs wait; upper and lower case are alike."""
    return list(
        {job.job.environment.lower(): job.job.environment for job in _waiting(run)}.values()
    )


def _is(job: JobRun, environment: str) -> bool:
    return job.job.environment.lower() == environment.lower()
