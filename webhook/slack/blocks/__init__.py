"""Messages as Slack's blocks: the message of a deployment, its buttons, and its preview."""
