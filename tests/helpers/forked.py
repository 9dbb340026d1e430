"""A module to be run by a server: says what it finds, then ends as its argument says."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """`how` and perhaps seconds: 3, error, exit, killed, sleep or stubborn."""
    how = arguments[0]
    found = {
        **{"pid": os.getpid(), "parent": os.getppid(), "session": os.getsid(0), "group": os.getpgid(0)},
        **{"arguments": [*sys.argv[1:]], "threads": os.environ["OMP_NUM_THREADS"], "stdin": sys.stdin.read()},
        **{"imported": [name for name in ("torch", "transformers", "trl") if name in sys.modules]},
        "open": sorted(int(number) for number in os.listdir("/proc/self/fd"))[:-1],
        "handlers": [str(signal.getsignal(number)) for number in (signal.SIGCHLD, signal.SIGTERM)],
    }
    print(json.dumps(found), flush=True)
    if how == "error":
        raise ValueError("the last words")
    if how == "exit":
        sys.exit(5)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if how in ("sleep", "stubborn"):
        print("asleep", flush=True)
        time.sleep(float(arguments[1]))
    return int(how) if how.isdigit() else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
