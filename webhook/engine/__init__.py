"""What the worker's jobs do with a deployment, independent of its tool and its notifiers.

`receive` processes a delivery, `advance` follows the deployment to its end, `transitions` alone
writes its phase. `statuses` (GitHub) and `notify` (people) send what changed through the `outbox`,
which sends each thing once. A job may be killed at any line and run again. All that a job needs is
in `Services`, which `webhook.worker` composes: no module here imports a tool, Slack or a view.
"""
