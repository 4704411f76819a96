"""Installs the peers that are not in requirements-dev.txt, each from where its users get it.

What cannot be had here is left out, with the reason.
"""

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
# Beside what script/setup installs, so that no checkout has it twice.
CACHE = Path(sys.prefix) / "peers"
_LOCK = HERE / "package-lock.json"
_REQUIREMENTS = HERE / "requirements.txt"


class MissingPeer(Exception):
    """Its text is the reason."""


@cache
def npm() -> Path:
    """The folder of Probot and @octokit/webhooks."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise MissingPeer("node and npm are not installed")
    stamp = HERE / "node_modules" / "installed-package-lock.json"
    if not _is_current(_LOCK, stamp):
        _run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1"])
        shutil.copyfile(_LOCK, stamp)
    return HERE


@cache
def adnanh() -> Path:
    """Debian's package `webhook`, unpacked without root."""
    if found := shutil.which("webhook"):
        return Path(found)
    program = CACHE / "debian" / "usr" / "bin" / "webhook"
    if not program.exists():
        if shutil.which("apt-get") is None:
            raise MissingPeer("there is no apt-get, and no `webhook` on the PATH")
        folder = CACHE / "download"
        folder.mkdir(parents=True, exist_ok=True)
        _run(["apt-get", "download", "webhook"], folder)
        package = next(folder.glob("webhook_*.deb"))
        _run(["dpkg-deb", "-x", str(package), str(program.parents[2])])
    return program


@cache
def flask_githubapp() -> Path:
    """For PYTHONPATH: the package alone, on the Flask and the requests that the relay has."""
    folder = CACHE / f"python-{sysconfig.get_python_version()}"
    stamp = folder / "installed-requirements.txt"
    if not _is_current(_REQUIREMENTS, stamp):
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        options = ["--no-deps", "--require-hashes", "--upgrade", "--target", str(folder)]
        _run([*pip, *options, "-r", str(_REQUIREMENTS)])
        shutil.copyfile(_REQUIREMENTS, stamp)
    return folder


def _is_current(lock: Path, stamp: Path) -> bool:
    return stamp.exists() and stamp.read_bytes() == lock.read_bytes()


def _run(command: Sequence[str], folder: Path = HERE) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=300)
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [f"exit code {error.returncode}"]
        raise MissingPeer(f"`{' '.join(command[:3])}` failed: {lines[-1]}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingPeer(f"`{' '.join(command[:3])}` failed: {error}") from None
