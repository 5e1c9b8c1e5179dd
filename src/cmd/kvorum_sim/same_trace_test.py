"""Whether processes that run the same seed see the same, event for event.

What differs between processes must not get into a run: where the memory is, the environment, the order of hash
tables. usage: same_trace_test.py KVORUM_SIM SEED...
"""

import os
import subprocess
import sys

PROCESSES = 3


def told(program, seed, number):
    """All that a process says of its run, the hash of its events at the end."""
    environment = dict(os.environ, KVORUM_PADDING="x" * 10_007 * number)
    done = subprocess.run([program, "--seed", seed, "--trace"], env=environment, capture_output=True, text=True,
                          check=False, timeout=300)
    assert done.returncode == 0, f"seed {seed}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    lines = done.stdout.splitlines()
    assert ", trace " in lines[-1], lines[-1]
    return lines


def main():
    program, *seeds = sys.argv[1:]
    failed = False
    for seed in seeds:
        first, *others = [told(program, seed, number) for number in range(PROCESSES)]
        for other in others:
            if other == first:
                continue
            failed = True
            pairs = [pair for pair in zip(first, other) if pair[0] != pair[1]]
            print(f"seed {seed}: {len(first)} and {len(other)} lines; the first that differ:", *pairs[0], sep="\n  ")
        print(f"seed {seed}: {first[-1].rsplit(', ', 1)[1]}, {len(first)} lines")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
