"""TCP between members, each link and direction of which can be cut, held up or slowed down.

A member dials a relay instead of another member: fault_shim.so gives it the relay's port.
"""

import asyncio
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from cluster import free_port  # pylint: disable=wrong-import-position


class Way:
    """What goes from one member to another, whichever of them dialed."""

    def __init__(self):
        self.open = asyncio.Event()
        self.open.set()
        self.delay = 0


class Relays:
    """The links between some members."""

    def __init__(self, members):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.ports = {}  # (who dials, whom) -> port
        self.servers = []
        self.held = set()  # connections something waited in
        names = [m.name for m in members]
        self.ways = {(a, b): Way() for a in names for b in names if a != b}
        for dialer in members:
            for target in members:
                if dialer is not target:
                    self.ports[dialer.name, target.name] = self._call(self._listen(dialer.name, target))

    def cut(self, ways):
        """Nothing passes there any more; what is sent waits."""
        self._do(lambda: [self.ways[way].open.clear() for way in ways])

    def slow(self, ways, delay):
        self._do(lambda: [setattr(self.ways[way], "delay", delay) for way in ways])

    def heal(self, lose):
        """Everything passes. What waited comes late, or is lost with its connection."""

        def heal():
            if lose:
                for writer in self.held:
                    writer.transport.abort()
            self.held.clear()
            for way in self.ways.values():
                way.open.set()
                way.delay = 0

        self._do(heal)

    def close(self):
        """REQUIRES: the members are dead"""

        async def stop():
            for server in self.servers:
                server.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._call(stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def _do(self, work):
        async def run():
            work()

        self._call(run())

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    async def _listen(self, dialer, target):
        port = free_port()

        async def serve(reader, writer):
            try:
                await self._serve(dialer, target, reader, writer)
            except (OSError, asyncio.CancelledError):
                writer.transport.abort()

        self.servers.append(await asyncio.start_server(serve, "127.0.0.1", port))
        return port

    async def _serve(self, dialer, target, reader, writer):
        await self._pass(writer, (dialer, target.name))
        await self._pass(writer, (target.name, dialer))
        onward_reader, onward = await asyncio.open_connection("127.0.0.1", target.listen_port)
        try:
            await asyncio.gather(self._pump(reader, onward, writer, (dialer, target.name)),
                                 self._pump(onward_reader, writer, writer, (target.name, dialer)))
        finally:
            onward.transport.abort()
            writer.transport.abort()
            self.held.discard(writer)

    async def _pass(self, writer, way):
        if not self.ways[way].open.is_set():
            self.held.add(writer)
            await self.ways[way].open.wait()

    async def _pump(self, reader, writer, connection, way):
        while True:
            data = await reader.read(1 << 18)
            await self._pass(connection, way)
            if self.ways[way].delay:
                await asyncio.sleep(self.ways[way].delay)
            if not data:
                raise ConnectionError("closed")
            writer.write(data)
            await writer.drain()
