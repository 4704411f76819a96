"""Jobs: receive a delivery, advance a deployment, tell GitHub and Slack, sweep.

Each job may be killed at any line and run again: it looks at the rows and the world, does what is
missing and records it.
"""
