"""Every benchmark of this folder, one after another, and what they found side by side: `python -m benchmarks`.

A line of a benchmark that states a ratio or a goal is a finding, and goes into the summary. A benchmark that fails is
named there too, and the exit code is then 1.
"""

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

FINDING = re.compile(r"\b(goal|ratio|peak|times as fast)\b|films/s")


class Outcome(NamedTuple):
    """How a benchmark ended, and the findings among what it printed."""

    name: str
    exit_code: int
    seconds: float
    findings: list[str]


def main() -> None:
    """Run all, print the summary."""
    files = sorted(path for path in Path(__file__).parent.glob("*.py") if path.stem != "__main__")
    outcomes = [run(file) for file in files]
    print("\nsummary")
    for outcome in outcomes:
        failed = f", FAILED with exit code {outcome.exit_code}" if outcome.exit_code else ""
        print(f"{outcome.name} ({outcome.seconds:.0f} s{failed})")
        for finding in outcome.findings:
            print(f"  {finding}")
    sys.exit(any(outcome.exit_code for outcome in outcomes))


def run(file: Path) -> Outcome:
    """Run one benchmark in a process of its own, showing what it prints as it comes."""
    print(f"\n{file.stem}", flush=True)
    start = time.perf_counter()
    findings = []
    with subprocess.Popen([sys.executable, str(file)], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            if FINDING.search(line):
                findings.append(line.strip())
    return Outcome(file.stem, process.returncode, time.perf_counter() - start, findings)


if __name__ == "__main__":
    main()
