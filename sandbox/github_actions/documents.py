"""GitHub's documents about workflows, runs and jobs.

Source: the shapes that githubkit generates from GitHub's OpenAPI description; tests compare.
"""

from datetime import datetime

from sandbox.github.documents import CREATED_AT, Documents, iso, node
from sandbox.github.model import Json, Repository
from sandbox.github_actions.model import JobRun, Workflow, WorkflowRun

RUN_LINKS = "jobs logs artifacts cancel rerun"
RUNNER = {
    "runner_id": 1,
    "runner_name": "Hosted Agent",
    "runner_group_id": 2,
    "runner_group_name": "GitHub Actions",
}


class ActionsDocuments:
    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def workflow(self, workflow: Workflow) -> Json:
        url, html = self._urls(workflow.repository, f"actions/workflows/{workflow.id}")
        return {
            "id": workflow.id,
            "node_id": node("W", workflow.id),
            "name": workflow.name,
            "path": workflow.path,
            "state": workflow.state,
            "created_at": CREATED_AT,
            "updated_at": CREATED_AT,
            "url": url,
            "html_url": html,
            "badge_url": f"{html}/badge.svg",
        }

    def run(self, run: WorkflowRun) -> Json:
        url, html = self._urls(run.repository, f"actions/runs/{run.id}")
        suites, _ = self._urls(run.repository, f"check-suites/{run.id}")
        workflows, _ = self._urls(run.repository, f"actions/workflows/{run.workflow.id}")
        repository = self._documents.repository(run.repository)
        actor = self._documents.account(run.actor)
        return {
            "id": run.id,
            "name": run.workflow.name,
            "node_id": node("WFR", run.id),
            "check_suite_id": run.id,
            "check_suite_node_id": node("CS", run.id),
            "head_branch": run.head_branch,
            "head_sha": run.head_sha,
            "path": run.workflow.path,
            "display_title": run.title,
            "run_number": run.number,
            "run_attempt": run.attempt,
            "event": run.event,
            "status": run.status,
            "conclusion": run.conclusion,
            "workflow_id": run.workflow.id,
            "url": url,
            "html_url": html,
            "pull_requests": [],
            "created_at": iso(run.created_at),
            "updated_at": iso(run.updated_at),
            "run_started_at": iso(run.started_at),
            "actor": actor,
            "triggering_actor": self._documents.account(run.triggering_actor or run.actor),
            "referenced_workflows": [],
            **{f"{link}_url": f"{url}/{link}" for link in RUN_LINKS.split()},
            "check_suite_url": suites,
            "workflow_url": workflows,
            "previous_attempt_url": f"{url}/attempts/{run.attempt - 1}"
            if run.attempt > 1
            else None,
            "head_commit": _commit(run.head_sha),
            "repository": repository,
            "head_repository": repository,
        }

    def job(self, run: WorkflowRun, job: JobRun) -> Json:
        url, _ = self._urls(run.repository, f"actions/jobs/{job.id}")
        checks, _ = self._urls(run.repository, f"check-runs/{job.id}")
        run_url, html = self._urls(run.repository, f"actions/runs/{run.id}")
        has_runner = job.status in ("in_progress", "completed") and job.conclusion != "skipped"
        return {
            "id": job.id,
            "run_id": run.id,
            "run_url": run_url,
            "run_attempt": job.attempt,
            "node_id": node("CR", job.id),
            "head_sha": run.head_sha,
            "head_branch": run.head_branch,
            "url": url,
            "html_url": f"{html}/job/{job.id}",
            "status": job.status,
            "conclusion": job.conclusion,
            "created_at": iso(job.created_at),
            "started_at": iso(job.started_at),
            "completed_at": _iso(job.completed_at),
            "name": job.job.name,
            "steps": _steps(job) if has_runner else [],
            "check_run_url": checks,
            "labels": ["ubuntu-latest"],
            **(RUNNER if has_runner else dict.fromkeys(RUNNER)),
            "workflow_name": run.workflow.name,
        }

    def details(self, run: WorkflowRun) -> Json:
        """The response to a dispatch with `return_run_details`."""
        document = self.run(run)
        return {
            "workflow_run_id": run.id,
            "run_url": document["url"],
            "html_url": document["html_url"],
        }

    def _urls(self, repository: Repository, path: str) -> tuple[str, str]:
        """The URL in the API, and that of the page."""
        url = f"{self._documents.api}/repos/{repository.full_name}/{path}"
        return url, url.replace("/api/v3/repos/", "/")


def _commit(sha: str) -> Json:
    author = {"name": "Octo Cat", "email": "octocat@example.com"}
    return {
        "id": sha,
        "tree_id": sha,
        "message": "Change something",
        "timestamp": CREATED_AT,
        "author": author,
        "committer": author,
    }


def _steps(job: JobRun) -> list[Json]:
    """The first succeeds; the second is the one in which the job may fail."""
    times = {
        "started_at": _iso(job.started_at),
        "completed_at": _iso(job.completed_at),
    }
    done = {"status": "completed", "conclusion": "success"}
    last = {"status": job.status, "conclusion": _conclusion_of_step(job)}
    return [
        {"name": "Set up job", "number": 1, **done, **times},
        {"name": job.job.step, "number": 2, **last, **times},
    ]


def _conclusion_of_step(job: JobRun) -> str | None:
    return "cancelled" if job.conclusion == "timed_out" else job.conclusion


def _iso(at: datetime | None) -> str | None:
    return iso(at) if at else None
