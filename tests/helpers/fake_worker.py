"""A stand-in for the worker that trains nothing: it sleeps, writes records and ends as it is told to.

Arguments: a JSON object, then those of the worker. The object: `log` (a file to which each process
appends when it began and ended), `seconds`, and `ends`: how the runs that are not to end well do, by
the beginning of their key: "failed", "diverged", "killed", "silent" (no manifest), "hangs", "stubborn" (it does not
hear SIGTERM either) or "endless". Stdlib only: it starts in 20 ms.
"""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

orders, folder, start = json.loads(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
spec = json.loads((folder / "spec.json").read_text())
event = {
    "key": folder.name,
    "pid": os.getpid(),
    "threads": os.environ["OMP_NUM_THREADS"],
    "contended": "--contended" in sys.argv,
    "start": start,
    "environment": sorted(os.environ),
    "device": sys.argv[sys.argv.index("--device") + 1],
}


def tell(what: str) -> None:
    with open(orders["log"], "a") as log:
        log.write(json.dumps({**event, "what": what, "time_s": time.monotonic()}) + "\n")


def manifest(status: str, error: str | None) -> None:
    names = ("suite", "purpose", "arm", "algorithm", "task", "seed", "protocol")
    counts = ("updates", "completions", "tokens", "optimizer_steps", "train_s", "wall_s", "startup_s", "eval_s")
    fields = {
        **{name: spec[name] for name in names},
        **dict.fromkeys(counts, 3),
        **{"status": status, "error": error, "key": folder.name, "cfg8": folder.name.split(".")[-1]},
        **{"peak_rss_bytes": 1, "contended": event["contended"]},
        "retried": note.read_text().strip() if (note := folder / "retried").exists() else None,
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.json*"))},
    }
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    fields["seal"] = hashlib.sha256(canonical.encode()).hexdigest()
    (folder / "half").write_text(json.dumps(fields))
    (folder / "half").rename(folder / "manifest.json")


tell("began")
for update in (1, 2, 3):
    time.sleep(orders.get("seconds", 0.1) / 3)
    (folder / "heartbeat").touch()
    with (folder / "metrics.jsonl").open("a") as lines:
        lines.write(json.dumps({"update": update, "completions": 8 * update, "reward_mean": 0.25}) + "\n")
ends = [how for beginning, how in orders.get("ends", {}).items() if folder.name.startswith(beginning)]
how = ends[0] if ends else "ok"
tell("ended")
if how == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if how == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if how in ("hangs", "stubborn"):
    time.sleep(600)
while how == "endless":
    time.sleep(0.05)
    (folder / "heartbeat").touch()
if how == "silent":
    print("the last words")
    sys.exit(3)
(folder / "heartbeat").unlink()
manifest(how, "it went [wrong]" if how == "failed" else None)
sys.exit(how == "failed")
