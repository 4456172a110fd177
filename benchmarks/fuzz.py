"""Random input against what reads strangers' text and files, for docs/reliability.md: one line a reader.

    python benchmarks/fuzz.py --minutes 10 [--reader formula preset fit sums counts] [--seed 20]

Inputs and allowed outcomes are those of ``tests/adversarial/fuzzed.py``. A finding is any other exception, or an input
that takes more than ``--slow`` seconds of processor time; it is printed, shrunk by hypothesis, and the exit code is 1.
"""

import argparse
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "adversarial"))
from fuzzed import READERS, Reader

# Examples between two looks at the clock.
ROUND = 100
QUIET = settings(
    max_examples=ROUND,
    database=None,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


class TooSlow(Exception):  # noqa: N818
    """An input took longer than allowed."""


def expired(signum: int, frame: object) -> None:
    raise TooSlow


def run(reader: Reader, minutes: float, first: int, slow: float) -> tuple[Counter, float, BaseException | None]:
    """Outcomes, the slowest input in seconds, and what was found."""
    outcomes: Counter = Counter()
    slowest = 0.0

    def check(value: object) -> None:
        nonlocal slowest
        # Processor time: a machine that does other things finds nothing.
        signal.setitimer(signal.ITIMER_PROF, slow)
        began = time.process_time()
        try:
            outcomes[reader.check(value)] += 1
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            slowest = max(slowest, time.process_time() - began)
        if slowest > slow:
            raise TooSlow

    end, number = time.monotonic() + 60 * minutes, first
    while time.monotonic() < end:
        try:
            seed(number)(QUIET(given(reader.inputs)(check)))()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            return outcomes, slowest, error
        number += 1
    return outcomes, slowest, None


def main() -> int:
    parser = argparse.ArgumentParser(description="Random input against poolwise's readers.")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--reader", nargs="+", choices=READERS, default=list(READERS))
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--slow", type=float, default=10.0)
    given_ = parser.parse_args()
    signal.signal(signal.SIGPROF, expired)
    found = 0
    for name in given_.reader:
        began = time.monotonic()
        outcomes, slowest, error = run(READERS[name], given_.minutes, given_.seed, given_.slow)
        took = time.monotonic() - began
        said = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
        print(f"{name}: {sum(outcomes.values())} inputs in {took:.0f} s, {said}; slowest {slowest:.3f} s", flush=True)
        if error is not None:
            found += 1
            traceback.print_exception(error)
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(main())
