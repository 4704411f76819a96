"""The browser of the tests and pictures: the system's Chromium, or Chrome."""

import os
import shutil
import sys

# Debian's, Ubuntu's, and those of Google's packages.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = (
    "no Chromium: the pages are not tried as people use them. Install it (Debian: apt install"
    " chromium), or name one with CHROMIUM=/path/to/chrome"
)
# Root's browser has no sandbox; containers often have little shared memory.
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]


def executable() -> str | None:
    found = (shutil.which(name) for name in (os.environ.get("CHROMIUM", ""), *NAMES) if name)
    return next((path for path in found if path), None)


if __name__ == "__main__":
    sys.exit(MISSING if executable() is None else None)
