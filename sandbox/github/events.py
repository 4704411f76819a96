"""The bodies of GitHub's webhooks."""

import secrets

from sandbox.github.documents import CREATED_AT, Documents, node
from sandbox.github.model import Account, Deployment, Json, Repository, Status, World

ZEN = ("Keep it logically awesome.", "Design for failure.", "Responsive is better than fast.")


class Events:
    def __init__(self, world: World, documents: Documents) -> None:
        self._world = world
        self._documents = documents

    def deployment(self, deployment: Deployment) -> Json:
        return {
            "action": "created",
            "deployment": self._documents.deployment(deployment),
            **self._workflow_of(deployment),
            **self.common_fields(deployment.repository, deployment.creator),
        }

    def deployment_status(self, deployment: Deployment, status: Status) -> Json:
        return {
            "action": "created",
            "deployment_status": self._documents.status(deployment, status),
            "deployment": self._documents.deployment(deployment),
            "check_run": None,
            **(_workflow_of_status(status) or self._workflow_of(deployment)),
            **self.common_fields(deployment.repository, status.creator),
        }

    def ping(self, hook_id: int, url: str) -> Json:
        app = self._world.app
        hook = {
            "type": "App",
            "id": hook_id,
            "name": "web",
            "active": True,
            "events": list(app.events),
            "config": {"content_type": "json", "insecure_ssl": "0", "secret": "***", "url": url},
            "updated_at": CREATED_AT,
            "created_at": CREATED_AT,
            "app_id": app.id,
            "deliveries_url": f"{self._documents.api}/app/hook/deliveries",
        }
        return {"zen": secrets.choice(ZEN), "hook_id": hook_id, "hook": hook}

    def _workflow_of(self, deployment: Deployment) -> Json:
        fields = deployment.workflow_run
        if fields is None:
            return {"workflow": None, "workflow_run": None}
        return {
            "workflow": self._workflow(deployment.repository),
            "workflow_run": self._workflow_run(deployment, fields),
        }

    def _workflow_run(self, deployment: Deployment, fields: Json) -> Json:
        """The run whose job has an environment, for which GitHub creates a deployment."""
        number = deployment.id + 7
        url = f"{self._documents.api}/repos/{deployment.repository.full_name}/actions/runs/{number}"
        return {
            "id": number,
            "name": "Deploy",
            "node_id": node("WFR", number),
            "check_suite_id": number,
            "check_suite_node_id": node("CS", number),
            "head_branch": deployment.ref,
            "head_sha": deployment.sha,
            "path": ".github/workflows/deploy.yml",
            "display_title": "Deploy",
            "run_number": 1,
            "run_attempt": 1,
            "event": "push",
            "status": "in_progress",
            "conclusion": None,
            "workflow_id": 7,
            "url": url,
            "html_url": url.replace("/api/v3/repos/", "/"),
            "pull_requests": [],
            **dict.fromkeys(("created_at", "updated_at", "run_started_at"), CREATED_AT),
            "actor": self._documents.account(deployment.creator),
            "triggering_actor": self._documents.account(deployment.creator),
            "referenced_workflows": [],
            **fields,
        }

    def _workflow(self, repository: Repository) -> Json:
        path = f"{repository.full_name}/actions/workflows"
        return {
            "id": 7,
            "node_id": node("W", 7),
            "name": "Deploy",
            "path": ".github/workflows/deploy.yml",
            "state": "active",
            "created_at": CREATED_AT,
            "updated_at": CREATED_AT,
            "url": f"{self._documents.api}/repos/{path}/7",
            "html_url": f"{self._world.url}/{path}/deploy.yml",
            "badge_url": f"{self._world.url}/{path}/Deploy/badge.svg",
        }

    def common_fields(self, repository: Repository, sender: Account) -> Json:
        """The fields of every event of a repository."""
        body: Json = {
            "repository": self._documents.repository(repository),
            "sender": self._documents.account(sender),
        }
        if repository.owner.type == "Organization":
            body["organization"] = self._documents.organization(repository.owner)
        if installation := self._world.installation_of(repository):
            body["installation"] = {
                "id": installation.id,
                "node_id": node("MDIz", installation.id),
            }
        return body


def _workflow_of_status(status: Status) -> Json:
    if status.workflow_run is None:
        return {}
    return {"workflow": status.workflow, "workflow_run": status.workflow_run}
