"""Runs the commands of docs/operations.md that are marked to be run, on loopback addresses of their own.

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


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        blocks = re.findall(r"<!-- run -->\n```\n(.*?)```", file.read(), re.DOTALL)
    assert blocks, "nothing to run"
    with tempfile.TemporaryDirectory(prefix="kvorum-operations-") as folder:
        chosen = random.SystemRandom()
        network = f"127.{chosen.randrange(1, 255)}.{chosen.randrange(1, 255)}."
        script = "set -euo pipefail\n" + "\n".join(blocks)
        script = script.replace("10.0.0.", network).replace("/var/lib/kvorum", folder)
        log = os.path.join(folder, "members.log")
        script = re.sub(r"&$", f">>{log} 2>&1 &", script, flags=re.MULTILINE)
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
        if process.returncode != 0 or "greeting\nhello" not in output:
            with open(log, encoding="utf-8", errors="replace") as file:
                output += "".join(file.readlines()[-60:])
            sys.exit(f"exit status {process.returncode}\n{output}")


main()
