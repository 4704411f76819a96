"""Keys of one mapping in a repository's file, each read as what it must be."""

from collections.abc import Collection
from typing import Any

import yaml

from webhook.config.source import Path
from webhook.repository_file import keys
from webhook.repository_file.document import Document, Entry, is_null, shown


class Fields:
    """Warns of each key that is neither in `known` nor in `also`. What it reads is None where the
    key is missing, empty, or something else, with an error."""

    def __init__(
        self,
        document: Document,
        node: yaml.Node,
        path: Path,
        known: tuple[str, ...],
        *,
        also: Collection[str] = (),
    ) -> None:
        self.document = document
        self.node = node
        self.path = path
        self.entries = document.mapping(node, path)
        for key, entry in self.entries.items():
            if key not in known and key not in also:
                document.warn(entry.key, entry.path, keys.ignored(key, known))

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.node, yaml.MappingNode)

    def __getitem__(self, key: str) -> Entry:
        return self.entries[key]

    def given(self, key: str) -> Entry | None:
        """None where it is missing or empty."""
        entry = self.entries.get(key)
        return None if entry is None or is_null(entry.value) else entry

    def line(self, key: str) -> int:
        return self.document.position(self.entries[key].key)[0]

    def text(self, key: str) -> str | None:
        entry = self.entries.get(key)
        return self.document.text(entry.value, entry.path) if entry else None

    def texts(self, key: str) -> tuple[str, ...] | None:
        entry = self.given(key)
        return self.document.texts(entry.value, entry.path) if entry else None

    def boolean(self, key: str) -> bool | None:
        entry = self.entries.get(key)
        return self.document.boolean(entry.value, entry.path) if entry else None

    def number(self, key: str) -> int | None:
        entry = self.given(key)
        return self.document.number(entry.value, entry.path) if entry else None

    def plain(self, key: str) -> Any:
        entry = self.given(key)
        return self.document.plain(entry.value, entry.path) if entry else None

    def error(self, key: str, message: str, *, quoted: bool = True) -> None:
        """At the value; `quoted`: it begins the message."""
        entry = self.entries[key]
        text = f"{shown(entry.value)} {message}" if quoted else message
        self.document.error(entry.value, entry.path, text)

    def warn(self, key: str, message: str, *, quoted: bool = True) -> None:
        entry = self.entries[key]
        text = f"{shown(entry.value)} {message}" if quoted else message
        self.document.warn(entry.value, entry.path, text)

    def warn_of_key(self, key: str, message: str) -> None:
        entry = self.entries[key]
        self.document.warn(entry.key, entry.path, message)
