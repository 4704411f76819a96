"""Slack: its API client, workspaces, installation, messages and actions."""
