"""Which part of an output the page shows, by its address: the end, the lines around one, or those
that have a text; and where its links lead.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from webhook.store.database import SyncPool
from webhook.web import paths
from webhook.web.given import number
from webhook.web.pages.deployment.log_search import LONGEST_WANTED, Found, as_shown, search
from webhook.web.pages.deployment.log_window import LogView, LogWindows, read_apart

# Bytes of HTML of a line that was found, besides its text and its address.
_BESIDE = 60
_LONG_NUMBER = 10**8


@dataclass(frozen=True, slots=True)
class LogLinks:
    """`key`: of the page's link, for who has nothing else; it is in the page's own address, too.
    `find`: what is searched for, which lines keep."""

    path: str
    key: str
    find: str

    @property
    def end(self) -> str:
        return paths.with_query(self.path, key=self.key)

    @property
    def download(self) -> str:
        return paths.with_query(f"{self.path}/output.txt", key=self.key)

    def line(self, line: int) -> str:
        return f"{self._with(line=str(line))}#L{line}"

    def until(self, line: int) -> str:
        return f"{self._with(until=str(line))}#L{line}"

    def found(self, after: int = 0) -> str:
        return f"{self._with(after=str(after or ''))}#output-title"

    def _with(self, **values: str) -> str:
        return paths.with_query(self.path, key=self.key, find=self.find, **values)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSection:
    """One of `view` and `found`. `typed`: what the form has. `wrong`: why it was not searched."""

    links: LogLinks
    typed: str
    longest: int = LONGEST_WANTED
    view: LogView | None = None
    found: Found | None = None
    wrong: str = ""


def read_section(
    windows: LogWindows,
    pool: SyncPool,
    deployment_id: int,
    query: Mapping[str, str],
    *,
    path: str,
    key: str,
    over: bool,
) -> LogSection:
    """`over`: nothing more is printed. Errors: psycopg's."""
    wanted = as_shown(query.get("find", ""))
    wrong = _length_error(wanted)
    links = LogLinks(path, key, "" if wrong else wanted)
    line, until, after = (number(query.get(name, "")) or 0 for name in ("line", "until", "after"))
    if links.find and not line and not until:
        read = read_apart(pool, deployment_id)
        begin = windows.start_after(deployment_id, read, after)
        beside = _BESIDE + len(links.line(_LONG_NUMBER))
        found = search(read, links.find, begin=begin, after=after, beside=beside)
        if found.last:
            return LogSection(links=links, typed=wanted, found=found)
    with pool.connection() as connection:
        if line or until:
            view = windows.around(connection, deployment_id, line=line, until=until)
        else:
            view = windows.end(connection, deployment_id, over=over)
    return LogSection(links=links, typed=wanted, view=view, wrong=wrong)


def _length_error(wanted: str) -> str:
    if len(wanted) <= LONGEST_WANTED:
        return ""
    return (
        f"Search for {LONGEST_WANTED} characters at most: this has {len(wanted):,}, and nothing was"
        " searched."
    )
