"""Who is at the command line."""

import getpass
import os
import socket
from contextlib import suppress


def operator() -> str:
    """An @ tells that from a GitHub login."""
    user = f"user {os.getuid()}"
    with suppress(KeyError, OSError):  # of a container, which knows no names
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"
