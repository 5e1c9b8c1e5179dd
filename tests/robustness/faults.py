"""What fault_shim.so is told."""

import mmap
import os
import struct

SHIM = "libkvorum_fault_shim.so"
ALWAYS = 0xFFFFFFFF
ALL, LOG, OTHERS = range(3)

# As in fault_shim.cc.
SIZE = 4096
FIELDS = ("sync_delay_us", "fail_syncs", "fail_writes", "scope", "lie", "syncs", "faults", "redirects")


class Faults:
    """The disk and network of one member."""

    def __init__(self, member):
        self.data = member.directory
        self.directory = member.directory + ".faults"
        os.makedirs(os.path.join(self.directory, "inodes"))
        with open(os.path.join(self.directory, "control"), "w+b") as file:
            file.truncate(SIZE)
            self.page = mmap.mmap(file.fileno(), SIZE)

    def environment(self, programs):
        """Of the member's process."""
        shim = os.path.join(programs, SHIM)
        assert os.path.exists(shim), shim
        return {"LD_PRELOAD": shim, "KVORUM_FAULTS": self.directory, "KVORUM_FAULTS_DATA": self.data}

    def __getitem__(self, field):
        return struct.unpack_from("<I", self.page, 4 * FIELDS.index(field))[0]

    def __setitem__(self, field, value):
        struct.pack_into("<I", self.page, 4 * FIELDS.index(field), value)

    def redirect(self, ports):
        """Who dials a port of `ports` reaches the other one that stands there."""
        self["redirects"] = 0
        for i, (before, after) in enumerate(sorted(ports.items())):
            struct.pack_into("<I", self.page, 4 * (len(FIELDS) + i), before << 16 | after)
        self["redirects"] = len(ports)

    def end(self):
        """The disk is good and fast again."""
        for field in ("sync_delay_us", "fail_syncs", "fail_writes"):
            self[field] = 0
