"""Reads a repository's deploy.yml as Gitploy does, and tells what Gitploy swallows.

Errors: none are raised; they are in the `RepositoryFile`.
"""

from webhook.repository_file.model import RepositoryFile


def read(text: bytes, *, rollback: bool = False) -> RepositoryFile:
    """`rollback`: whether Gitploy's variables are those of a rollback."""
    return RepositoryFile()
