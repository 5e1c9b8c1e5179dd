"""A power cut: takes back what a process under fault_shim.so had not synced when it was killed."""

import os
import shutil
import struct

SECTOR = 512

# As in fault_shim.cc.
CHANGE, SYNCED, DIRECTORY_SYNCED, MADE, REMOVED, RENAMED = range(1, 7)
RECORD = struct.Struct("<IIQQQQ")


class Name:
    """A change of names in directories."""

    def __init__(self, kind, place, inode, directories, paths):
        self.kind = kind
        self.place = place
        self.inode = inode
        self.unsynced = set(directories)
        self.paths = paths


def read_record(data):
    """What is not synced at the end: changes of each file, by inode, and changes of names."""
    changes = {}
    names = []
    place = 0
    while place + RECORD.size <= len(data):
        kind, payload_size, inode, offset, length, size = RECORD.unpack_from(data, place)
        end = place + RECORD.size + payload_size
        if end > len(data):
            break  # the kill came before it was whole
        payload = data[place + RECORD.size:end]
        if kind == CHANGE:
            changes.setdefault(inode, []).append((place, offset, length, size, payload))
        elif kind == SYNCED:
            changes[inode] = [change for change in changes.get(inode, ()) if change[0] >= offset]
        elif kind == DIRECTORY_SYNCED:
            for name in names:
                if name.place < offset:
                    name.unsynced.discard(inode)
        else:
            directories = {offset, length} if kind == RENAMED else {offset}
            names.append(Name(kind, place, inode, directories, payload.decode().split("\0")))
        place = end
    return changes, names


def undo_content(path, changes, random, torn):
    """Each sector that changed is as it was, or, torn, as it was or as it became."""
    sectors = {}
    with open(path, "r+b") as file:

        def sector(number):
            if number not in sectors:
                file.seek(number * SECTOR)
                sectors[number] = bytearray(file.read(SECTOR).ljust(SECTOR, b"\0"))
            return sectors[number]

        for _, offset, length, _, old in reversed(changes):
            was = old.ljust(length, b"\0")
            at = 0
            while at < length:
                number, within = divmod(offset + at, SECTOR)
                part = min(SECTOR - within, length - at)
                sector(number)[within:within + part] = was[at:at + part]
                at += part
        before = changes[0][3]
        now = os.fstat(file.fileno()).st_size
        size = before if not torn or random.random() < 0.5 else now
        lost = 0
        for number, content in sorted(sectors.items()):
            if torn and random.random() < 0.5:
                continue
            lost += 1
            file.seek(number * SECTOR)
            file.write(content)
        file.truncate(size)
    return lost


def now_called(path, place, kept):
    """What `path`, as it was called at `place` of the record, is called after the renames that stay."""
    for name in kept:
        if name.kind != RENAMED or name.place < place:
            continue
        before, after = name.paths
        if path == before or path.startswith(before + "/"):
            path = after + path[len(before):]
    return path


def undo_name(name, kept, inodes):
    paths = [now_called(path, name.place, kept) for path in name.paths]
    try:
        if name.kind == MADE:
            if os.path.isdir(paths[0]):
                shutil.rmtree(paths[0])
            else:
                os.unlink(paths[0])
        elif name.kind == REMOVED:
            if name.inode == 0:
                os.mkdir(paths[0])
            else:
                os.link(os.path.join(inodes, str(name.inode)), paths[0])
        else:
            os.rename(paths[1], paths[0])
            if name.inode != 0:
                os.link(os.path.join(inodes, str(name.inode)), paths[1])
    except (FileNotFoundError, FileExistsError):
        pass  # it was written down and not done, or the directory around it is lost too


def cut(faults, random, torn):
    """REQUIRES: the process is dead. Says what was lost: sectors and names."""
    record = os.path.join(faults, "undo")
    inodes = os.path.join(faults, "inodes")
    data = b""
    if os.path.exists(record):
        with open(record, "rb") as file:
            data = file.read()
    changes, names = read_record(data)
    sectors = 0
    for inode, unsynced in sorted(changes.items()):
        if unsynced:
            sectors += undo_content(os.path.join(inodes, str(inode)), unsynced, random, torn)
    unsynced = [name for name in names if name.unsynced]
    lost = unsynced[random.randrange(len(unsynced) + 1):] if torn else unsynced
    kept = [name for name in names if name not in lost]
    for name in reversed(lost):
        undo_name(name, kept, inodes)
    # From here on all that is there is synced.
    shutil.rmtree(inodes)
    os.mkdir(inodes)
    if os.path.exists(record):
        os.unlink(record)
    return f"{sectors} sectors and {len(lost)} names are lost"
