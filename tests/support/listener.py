"""What scripted servers stand on, for tests of clients."""

import socket
import threading


def listen(serve, port=0):
    """A socket that listens on 127.0.0.1 until it is closed; each connection is served on a thread of its own."""
    listener = socket.create_server(("127.0.0.1", port))

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener


def copy(source, target):
    """What comes from one connection goes to the other, until either ends: then both do."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
