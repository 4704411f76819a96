"""script/bench [KIND] [options of that kind]; without a KIND, the way in beside its peers.

A further kind is one line here and one in the help of script/bench, and a module with
`main(arguments)`, which parses what is left of the command line; it is imported only where it is
asked for, and says `--help` by itself.
"""

import signal
import sys
from importlib import import_module

INGEST = "benchmarks.intake"
KINDS = {
    "--burst": "benchmarks.burst",
    "--latency": "benchmarks.latency",
    "--scale": "benchmarks.scale",
    "--retention": "benchmarks.retention",
    "--outputs": "benchmarks.outputs",
    "--commands": "benchmarks.commands",
    "--pages": "benchmarks.pages",
}


def main(arguments: list[str]) -> None:
    # As Ctrl-C does, so that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # The first of all: --outputs has an option --commands, too.
    module = KINDS.get(arguments[0]) if arguments else None
    import_module(module or INGEST).main(arguments[1:] if module else arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
