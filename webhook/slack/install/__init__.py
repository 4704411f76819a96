"""Installing the Slack app in a workspace: the pages and their errors."""
