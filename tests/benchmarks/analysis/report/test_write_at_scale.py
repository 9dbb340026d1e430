"""A report of a thousand runs: how long, how much memory, how large a page."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from synthetic import make_suite, write_results

MEASURED = """
import json, re, resource, sys, time
from pathlib import Path
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.report.write import write
results = load(sys.argv[1])
write(results, Path(sys.argv[2]))
status = Path("/proc/self/status")  # where it is, it is this process's own peak; rusage's may be its parent's
peak = 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]) if status.is_file() else \\
    resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps({"runs": len(results.runs), "cpu_s": time.process_time(), "peak_bytes": peak}))
"""


def test_a_report_of_a_thousand_runs_takes_two_minutes_and_two_gigabytes_at_most(tmp_path: Path) -> None:
    """Processor seconds, which hardly depend on what else runs; the page has to stay one that opens at once."""
    write_results(tmp_path / "made", make_suite(seeds=125))
    command = [sys.executable, "-P", "-c", MEASURED, str(tmp_path / "made"), str(tmp_path / "report")]
    seen = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert seen["runs"] >= 1000
    assert seen["cpu_s"] < 120
    assert seen["peak_bytes"] < 2e9
    assert (tmp_path / "report" / "report.html").stat().st_size < 5e6
