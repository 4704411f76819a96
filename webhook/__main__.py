"""python -m webhook COMMAND."""

import gc

# What is imported stays. To search it for garbage takes a sixth of the start, and later longer
# than a request.
gc.disable()

from webhook.cli import main  # noqa: E402
from webhook.invocation import COMMAND  # noqa: E402

gc.freeze()
gc.enable()

__all__ = ["main"]

if __name__ == "__main__":
    main(prog_name=COMMAND)
