"""What PostgreSQL counts of the relay's work: transactions, WAL, rows, statements by kind."""

import re
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg

# PostgreSQL shows what a session counted a second after it was idle at the latest.
_COUNTED_AFTER = 1.5
_MARK = "@@"
_TOTALS: LiteralString = """
    select (select xact_commit + xact_rollback from pg_stat_database
             where datname = current_database()) as transactions,
           pg_current_wal_lsn() - '0/0' as wal_bytes,
           (select wal_fpi from pg_stat_wal) as full_pages,
           (select wal_records from pg_stat_wal) as wal_records
"""
_ROWS: LiteralString = """
    select relname, n_tup_ins, n_tup_upd, n_tup_del, pg_total_relation_size(relid)
      from pg_stat_user_tables order by relname
"""
_BUSY: LiteralString = """
    select count(*) from schedule
     where claimed_by is not null or due_at < now() + interval '10 seconds'
"""
_LAG: LiteralString = """
    select coalesce(extract(epoch from now() - min(due_at)), 0)::float8
      from schedule where due_at <= now()
"""
_SHORTENED = (
    (r"'(?:[^']|'')*'", "'?'"),
    (r"\b\d+\b", "?"),
    (r"\(\?(?:, \?)+\)", "(?, ...)"),
    (r"\b(select|returning) (\S+), .{40,}?(?= from |$)", r"\1 \2, ..."),
    (r"\((\w+)(?:, \w+){3,}\)", r"(\1, ...)"),
)
# Counts jobs by task in a separate run, as it costs.
_TRACE: LiteralString = """
    create table if not exists traced_jobs (task text, what text);
    create or replace function trace_job() returns trigger language plpgsql as $$
    begin
        insert into traced_jobs values (
            new.task, case when tg_op = 'INSERT' then 'requested'
                when new.claimed_by is null then 'finished' else 'claimed' end
        );
        return new;
    end $$;
    create trigger traced after insert or update on schedule
        for each row execute function trace_job();
"""


@dataclass(frozen=True, slots=True)
class Counts:
    totals: dict[str, int]
    # Table -> rows inserted, updated, deleted, and bytes.
    tables: dict[str, tuple[int, int, int, int]]

    def since(self, before: "Counts") -> "Counts":
        totals = {name: value - before.totals[name] for name, value in self.totals.items()}
        tables = {}
        for name, values in self.tables.items():
            earlier = before.tables.get(name, (0, 0, 0, 0))
            ins, upd, dele, size = (a - b for a, b in zip(values, earlier, strict=True))
            tables[name] = (ins, upd, dele, size)
        return Counts(totals, tables)


class Store:
    """A session of the benchmark's own, which is left out of all counts."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True, application_name="bench")
        self._transactions = 0

    def close(self) -> None:
        self._connection.close()

    def rows(self, query: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
        self._transactions += 1
        return self._connection.execute(query, values or None).fetchall()

    def execute(self, statement: LiteralString, *values: Any) -> None:
        self._transactions += 1
        self._connection.execute(statement, values or None)

    def is_busy(self) -> bool:
        """Something is left to do soon."""
        return bool(self.rows(_BUSY)[0][0])

    def lag(self) -> float:
        """Since when something is due, in seconds."""
        return float(self.rows(_LAG)[0][0])

    def counts(self) -> Counts:
        """Blocks until everything is counted."""
        time.sleep(_COUNTED_AFTER)
        [(transactions, wal, pages, records)] = self.rows(_TOTALS)
        totals = {
            "transactions": int(transactions) - self._transactions,
            "wal_bytes": int(wal),
            "full_pages": int(pages),
            "wal_records": int(records),
        }
        found = self.rows(_ROWS)
        return Counts(totals, {name: (i, u, d, size) for name, i, u, d, size in found})

    def trace_jobs(self) -> None:
        self.execute(_TRACE)

    def traced_jobs(self) -> Counter[tuple[str, str]]:
        rows = self.rows("select task, what, count(*) from traced_jobs group by 1, 2")
        self.execute("truncate traced_jobs")
        return Counter({(task, what): count for task, what, count in rows})

    def log_statements(self) -> None:
        """From now on, each is in the server's log."""
        self.execute(f"alter system set log_line_prefix = '{_MARK}%a{_MARK}'")
        self.execute("alter system set log_parameter_max_length = 0")
        self.execute("alter system set log_statement = 'all'")
        self.execute("select pg_reload_conf()")
        time.sleep(0.5)


class StatementLog:
    """The server's log, from the moment when this was made."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._start = file.stat().st_size

    def by_kind(self) -> Counter[tuple[str, str]]:
        """(process, statement) -> how often it ran."""
        with self._file.open("rb") as log:
            log.seek(self._start)
            text = log.read().decode(errors="replace")
        found: Counter[tuple[str, str]] = Counter()
        for entry in re.split(f"^(?={_MARK}[^@\n]*{_MARK})", text, flags=re.MULTILINE):
            match = re.match(
                f"{_MARK}(.*?){_MARK}LOG:  (?:statement|execute [^:]*): ?(.*)", entry, re.DOTALL
            )
            if match and not match[1].startswith("bench"):
                found[match[1], normalised(match[2])] += 1
        return found


def normalised(statement: str) -> str:
    """Without its values and long lists of columns."""
    statement = re.sub(r"\$\d+", "?", re.sub(r"\s+", " ", statement).strip())
    for pattern, shorter in _SHORTENED:
        statement = re.sub(pattern, shorter, statement, flags=re.IGNORECASE)
    return statement
