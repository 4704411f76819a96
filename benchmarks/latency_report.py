"""The figures of `script/bench --latency` for people's eyes."""

import sys
from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.stand_ins import EVENTS

Json = dict[str, Any]


def report(found: Json) -> None:
    console = Console(width=max(100, Console().width))
    load = f"load {found['load_before']} before, {found['load_after']} after"
    console.print(f"{found['cores']} cores; {load}")
    if "statements" in found:
        _report_statements(console, found["statements"])
    for name in ("in_flight", "idle"):
        if name in found:
            _report_values(console, found[name])
    for rate, run in found.get("rates", {}).items():
        console.print(f"\n{rate} a second, {run['deployments']} deployments")
        _report_run(console, run)
    for workers, run in found.get("batch", {}).items():
        console.print(f"\n{run['deployments']} at once, {workers} worker(s)")
        _report_run(console, run)


def _report_run(console: Console, run: Json) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("ms after the webhook", "p50", "p99", "max", "seen"):
        table.add_column(column, justify="right" if table.columns else "left")
    labels = ("first status", "message in Slack", "final status", "final edit in Slack")
    for event, label in zip(EVENTS, labels, strict=True):
        of = run["ms"][event]
        table.add_row(label, *(str(of.get(key, "")) for key in ("p50", "p99", "max", "n")))
    console.print(table)
    rates, each = run["per_second"], run["each"]
    console.print(
        f"ended a second: {rates['success']} at GitHub, {rates['edit']} in Slack too"
        + ("" if run["complete"] else "  (NOT ALL ENDED)")
    )
    shown = {name: value for name, value in each.items() if name != "cpu_ms"}
    console.print("each:", ", ".join(f"{name} {value:g}" for name, value in shown.items()))
    console.print("CPU ms each:", ", ".join(f"{n} {v:g}" for n, v in each["cpu_ms"].items()))
    allowed = run["cpu_allows_per_second"]
    console.print(
        f"CPU allows a second: {allowed['a_worker']:g} for a worker with a core of its own,"
        f" {allowed['the_machine']:g} for this machine, stand-ins included"
    )


def _report_statements(console: Console, found: Json) -> None:
    total: Counter[str] = Counter()
    for kind in found["kinds"]:
        total[kind["process"]] += kind["each"]
    shown = ", ".join(f"{process} {n:.1f}" for process, n in total.items())
    console.print(f"{found['each']} statements a deployment: {shown}")
    for kind in found["kinds"]:
        if kind["each"] >= 0.05:
            text = kind["statement"] or "(empty)"
            sys.stdout.write(f"{kind['each']:8.2f} {kind['process']:8} {text[:180]}\n")
    console.print("jobs a deployment, and what became of them:")
    for job in found["jobs"]:
        sys.stdout.write(f"{job['each']:8.2f} {job['task']} {job['what']}\n")


def _report_values(console: Console, found: Json) -> None:
    for name, value in found.items():
        if name == "tables":
            for table, row in value.items():
                console.print(f"{table:24}", _pairs(row))
        else:
            console.print(f"{name:24}", _pairs(value) if isinstance(value, dict) else value)


def _pairs(values: Json) -> str:
    parts = (
        f"{name} ({_pairs(value)})" if isinstance(value, dict) else f"{name} {value:,}"
        for name, value in values.items()
    )
    return ", ".join(parts)
