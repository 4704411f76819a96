"""python -m webhook COMMAND."""

from webhook.cli import main
from webhook.invocation import COMMAND

__all__ = ["main"]

if __name__ == "__main__":
    main(prog_name=COMMAND)
