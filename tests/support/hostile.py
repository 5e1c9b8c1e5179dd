"""A server of gRPC that misbehaves, or passes its connections on to a real one."""

import socket
import struct
import threading

from listener import copy, listen

DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6
ACK = END_STREAM = 1
END_HEADERS = 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A header field that no table knows."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def head(content_type=b"application/grpc"):
    return b"\x88" + literal(b"content-type", content_type)  # :status 200


def message(body, prefix=None, compressed=0):
    """`prefix`: the length that it claims."""
    return struct.pack(">BI", compressed, len(body) if prefix is None else prefix) + body


def answer(*messages, content_type=b"application/grpc", status=b"0"):
    """Of a call: the frames for its stream. `status` None: it ends without one."""

    def frames(stream):
        data = b"".join(messages)
        out = frame(HEADERS, END_HEADERS, stream, head(content_type))
        if status is None:
            return out + frame(DATA, END_STREAM, stream, data)
        return out + frame(DATA, 0, stream, data) + frame(
            HEADERS, END_HEADERS | END_STREAM, stream, literal(b"grpc-status", status))

    return frames


NONSENSE = b"\x0a\xff" + b"\xff" * 100

# What is wrong with a connection, of bytes and how it goes on: None waits for the other side to close.
CONNECTIONS = {
    "closes at once": b"",
    "never answers": None,
    "garbage": bytes(range(256)) * 100,
    "another protocol": b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nno",
    "a frame without an end": b"\xff\xff\xff\x04\0\0\0\0\0" + b"\0" * 1000,
}
# What is wrong with the answer to each call.
ANSWERS = {
    "a page": answer(b"<html>Hello</html>", content_type=b"text/html", status=None),
    "a message that ends early": answer(message(b"\x0a\x02", prefix=50)),
    "a message behind its end": answer(message(b"\x0a\x00" * 50, prefix=2)),
    "a message of 4 GiB": answer(message(b"\x0a\x02", prefix=0xffffffff)),
    "a message of nonsense": answer(message(NONSENSE)),
    "a message that claims compression": answer(message(b"\x0a\x00", compressed=1)),
    "no status": answer(message(b""), status=None),
    "no number for a status": answer(message(b""), status=b"fine"),
    "no message": answer(),
}
KINDS = [*CONNECTIONS, *ANSWERS]


class Hostile:
    """`act`: None passes connections on to `endpoint`; otherwise a word of KINDS."""

    def __init__(self, endpoint, act=None):
        self.endpoint = endpoint
        self.act = act
        self.asked = 0
        self.open = []
        self.listener = listen(self._serve)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"

    def turn(self, act):
        """From now on; connections that are there end."""
        self.act = act
        self.asked = 0
        for connection in self.open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.open.clear()

    def close(self):
        self.turn(None)
        self.listener.close()

    def _serve(self, connection):
        self.open.append(connection)
        act = self.act
        try:
            with connection:
                if act is None:
                    self._pass_on(connection)
                elif act in ANSWERS:
                    self._speak(connection, ANSWERS[act])
                else:
                    self.asked += 1
                    if CONNECTIONS[act] is None:
                        while connection.recv(65536):
                            pass
                    else:
                        connection.sendall(CONNECTIONS[act])
        except OSError:
            pass

    def _pass_on(self, connection):
        host, port = self.endpoint.split(":")
        with socket.create_connection((host, int(port))) as onward:
            threading.Thread(target=copy, args=(onward, connection), daemon=True).start()
            copy(connection, onward)

    def _speak(self, connection, frames):
        """HTTP/2 as far as it takes to answer each call, once, when its first bytes are there."""
        stream_of_bytes = connection.makefile("rb")
        connection.sendall(frame(SETTINGS, 0, 0))
        stream_of_bytes.read(24)  # the preface
        answered = set()
        while prefix := stream_of_bytes.read(9):
            kind, flags = prefix[3], prefix[4]
            stream = struct.unpack(">I", prefix[5:])[0]
            payload = stream_of_bytes.read(int.from_bytes(prefix[:3], "big"))
            if kind in (SETTINGS, PING) and not flags & ACK:
                connection.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
            elif kind == DATA and payload and stream not in answered:
                answered.add(stream)
                self.asked += 1
                connection.sendall(frames(stream))
