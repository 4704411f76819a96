"""python -m webhook COMMAND."""

from webhook.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
