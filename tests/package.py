"""The installed wheel, run as its users run it: script/package, with the checkout to compare with.

It is run by the interpreter of the environment that has the wheel and nothing of the checkout.
"""

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.request
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin

RELAY = str(Path(sys.executable).with_name("gitploy-relay"))
ENVIRON = {"PATH": os.environ["PATH"], "HOME": str(Path.cwd())}
PACKAGES = ("webhook", "handlers", "sandbox")
DEMO_WITHIN = 120  # seconds
STOP_WITHIN = 30

_STYLESHEET = re.compile(r'<link rel="stylesheet" href="([^"]+)"')


def run(*arguments: str, ends_with: int = 0) -> str:
    done = subprocess.run(
        [RELAY, *arguments],
        env=ENVIRON,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == ends_with, done.stdout
    return done.stdout


def every_file_is_installed() -> None:
    checkout, installed = Path(sys.argv[1]), Path(sysconfig.get_path("purelib"))
    files = [
        path.relative_to(checkout)
        for package in PACKAGES
        for path in checkout.glob(f"{package}/**/*")
        if path.is_file() and path.parent.name != "__pycache__"
    ]
    assert files
    assert [str(file) for file in files if not (installed / file).is_file()] == []


def commands_are_there() -> None:
    assert run("--version").startswith("gitploy-relay, version ")
    assert " demo " in run("--help")


def check_names_what_is_missing() -> None:
    echo = 'envs:\n  - {name: test, handler: command, with: {run: [echo, "{sha}"]}}\n'
    Path("deploy.yml").write_text(echo)
    findings = run("check", ends_with=1)
    assert "GITPLOY_WEBHOOK_SECRET is not set; set it" in findings, findings
    assert "deploy.yml cannot be read" not in findings, findings


def the_demo_ends_well_and_shows_its_pages() -> None:
    """Its relay, with the wheel's migrations, serves a page before it is stopped."""
    with Path("demo.json").open("w+") as output, Path("demo.log").open("w+") as log:
        demo = subprocess.Popen(
            [RELAY, "demo", "--all", "--json", "--keep"],
            env={**ENVIRON, "PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=log,
        )
        try:
            report = _report(demo, output, log)
            _has_a_stylesheet(report["deployments"][0]["log_url"])
            demo.send_signal(signal.SIGTERM)
            assert demo.wait(STOP_WITHIN) == 0, Path("demo.log").read_text()
        finally:
            demo.kill()


def _report(demo: subprocess.Popen[bytes], output: IO[str], log: IO[str]) -> dict[str, Any]:
    deadline = time.monotonic() + DEMO_WITHIN
    while demo.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
        output.seek(0)
        if (written := output.read()).endswith("}\n"):
            report: dict[str, Any] = json.loads(written)
            return report
    log.seek(0)
    raise AssertionError(f"The demo printed no report: {log.read()}")


def _has_a_stylesheet(page: str) -> None:
    with urllib.request.urlopen(page, timeout=10) as response:
        found = _STYLESHEET.search(response.read().decode())
    assert found, page
    with urllib.request.urlopen(urljoin(page, found[1]), timeout=10) as response:
        assert response.headers.get_content_type() == "text/css"
        assert "{" in response.read().decode()


if __name__ == "__main__":
    for step in (
        every_file_is_installed,
        commands_are_there,
        check_names_what_is_missing,
        the_demo_ends_well_and_shows_its_pages,
    ):
        step()
        print(f"ok    {step.__name__.replace('_', ' ')}")  # noqa: T201
