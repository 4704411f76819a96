"""Gitploy Relay: runs the tool of each GitHub deployment and reports how it went."""

__version__ = "0.1.0"
