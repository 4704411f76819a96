"""Tooling of the operator's own, over HTTP."""
