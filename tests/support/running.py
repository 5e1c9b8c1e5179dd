"""A process of a test and its log."""

import re


class Running:
    """What members and proxies of all kinds have in common: `process` (None before the first start), `log_path`."""

    process = None
    log_path = None

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def terminate(self):
        self.process.terminate()
        return self.wait()

    def wait(self, patience=60):
        return self.process.wait(patience)

    def log(self):
        with open(self.log_path, errors="replace", encoding="utf-8") as log:
            return log.read()

    def memory(self):
        """What it has in memory, in bytes."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1)) << 10
