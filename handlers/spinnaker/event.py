"""What the relay sends to Spinnaker for a deployment: GitHub's event, with parameters.

Source: https://spinnaker.io/docs/guides/user/pipeline/triggers/webhooks
Errors: `Rejected` for values that Spinnaker would not take as they are.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from handlers.contract import Deployment
from handlers.errors import Rejected
from handlers.placeholders import fill, payload, payload_values

EXPRESSION = "${"
STANDARD_PARAMETERS = (
    "owner",
    "repo",
    "deployment_id",
    "ref",
    "sha",
    "environment",
    "report_url",
    "report_token",
)


def event(deployment: Deployment, parameters: Mapping[str, str]) -> dict[str, Any]:
    """`parameters` are the operator's templates."""
    owner, _, name = deployment.repo.partition("/")
    return {
        "action": "created",
        "deployment": {
            "id": deployment.id,
            "environment": deployment.environment,
            "ref": deployment.ref,
            "sha": deployment.sha,
            "task": deployment.task,
            "payload": payload(deployment),
            "creator": {"login": deployment.creator},
            "created_at": deployment.created_at.isoformat(),
        },
        "repository": {
            "id": deployment.repo_id,
            "name": name,
            "full_name": deployment.repo,
            "owner": {"login": owner},
        },
        "installation": {"id": deployment.installation_id},
        # The payload's keys come first: whoever deploys must not replace what others set.
        "parameters": payload_values(deployment)
        | {key: fill(template, deployment) for key, template in parameters.items()}
        | _standard(deployment, owner, name),
    }


def _standard(deployment: Deployment, owner: str, name: str) -> dict[str, str]:
    values = (
        owner,
        name,
        str(deployment.id),
        deployment.ref,
        deployment.sha,
        deployment.environment,
        deployment.report.url,
        deployment.report.token,
    )
    return dict(zip(STANDARD_PARAMETERS, values, strict=True))


def encode(document: Mapping[str, Any]) -> bytes:
    """Orca evaluates each `${...}` in a trigger, so one from a branch name or a payload is refused.

    Source: https://github.com/spinnaker/orca, OperationsController.groovy, orchestratePipeline
    """
    try:
        text = json.dumps(document, allow_nan=False)
    except (ValueError, RecursionError):
        raise Rejected("the deployment's payload is not plain JSON, or nested too deeply") from None
    # As JSON it can stand inside a string only.
    if EXPRESSION in text:
        raise Rejected(
            f"the deployment's ref, environment or payload contains '{EXPRESSION}', which"
            " Spinnaker would evaluate; it was not sent"
        )
    return text.encode()


def correlation_id(deployment: Deployment) -> str:
    """The same for each start of this deployment. Two relays may share one Spinnaker, and the
    IDs of two GitHub servers may be the same."""
    relay = sha256(deployment.report.url.encode()).hexdigest()[:12]
    return f"github-deployment-{deployment.id}-{relay}"
