"""Runs the commands of a page of the documentation that are marked to be run, on loopback addresses of their own, and
looks for the lines that are marked to be what they print, in this order.

usage: operations_test.py FILE
"""

import os
import random
import re
import subprocess
import sys
import tempfile

PATIENCE_SECONDS = 150
PROGRAM_FOLDER = os.path.dirname(os.environ.get("KVORUM_PROGRAM") or os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "..", "..", "build", "release", "bin", "kvorum"))


def first_missing(wanted, output):
    """The first of these lines that is not in the output, behind the ones before it; None where all are."""
    at = 0
    for line in wanted:
        found = output.find(line, at)
        if found < 0:
            return line
        at = found + len(line)
    return None


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        page = file.read()
    blocks = re.findall(r"<!-- run -->\n```\n(.*?)```", page, re.DOTALL)
    wanted = "".join(re.findall(r"<!-- prints -->\n```\n(.*?)```", page, re.DOTALL)).splitlines()
    assert blocks, "nothing to run"
    with tempfile.TemporaryDirectory(prefix="kvorum-operations-") as folder:
        chosen = random.SystemRandom()
        network = f"127.{chosen.randrange(1, 255)}.{chosen.randrange(1, 255)}."
        script = "set -euo pipefail\n" + "\n".join(blocks)
        script = script.replace("10.0.0.", network).replace("127.0.0.1", network + "1")
        script = script.replace("/var/lib/kvorum", folder)
        log = os.path.join(folder, "members.log")
        script = re.sub(r"^((?:member|kvorum)(?:[^\n]|\\\n)*)&$", f"\\1>>{log} 2>&1 &", script, flags=re.MULTILINE)
        path = PROGRAM_FOLDER + ":" + os.environ["PATH"]
        # In a file, so that pgrep -f finds no command but the members'.
        with open(os.path.join(folder, "commands"), "w", encoding="utf-8") as file:
            file.write(script)
        process = subprocess.Popen(["bash", file.name], env=dict(os.environ, PATH=path), text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            output, _ = process.communicate()
            output += "\n(too long)"
        finally:
            try:
                os.killpg(process.pid, 9)
            except ProcessLookupError:
                pass
        missing = first_missing(wanted, output)
        if process.returncode != 0 or missing:
            with open(log, encoding="utf-8", errors="replace") as file:
                output += "".join(file.readlines()[-60:])
            sys.exit(f"exit status {process.returncode}, not printed: {missing}\n{output}")


main()
