"""A TCP proxy with a network's faults: stalls, resets, half-closes and lost answers.

    with Proxy(("127.0.0.1", 3306)) as proxy:      # listens on proxy.port
        proxy.stall()                              # bytes wait, in both directions
        proxy.resume()
        proxy.cut()                                # every connection ends with a reset
        proxy.half_close("client")                 # clients see the end of the stream
        lost = proxy.swallow(is_commit)            # the next such request arrives, its answer is lost
        lost.wait(10)

Each connection has two threads, one for each direction.
"""

import contextlib
import socket
import struct
import threading

CHUNK = 65536
# A MySQL packet of 7 bytes, number 0: COM_QUERY "COMMIT".
COMMIT = b"\x07\x00\x00\x00\x03COMMIT"
KAFKA_PRODUCE = 0


def is_commit(chunk):
    """A request to a MySQL server that ends a transaction."""
    return chunk.endswith(COMMIT)


def is_produce(chunk):
    """A request to a Kafka broker that appends messages: size, then the number of the API."""
    return len(chunk) >= 6 and struct.unpack_from(">h", chunk, 4)[0] == KAFKA_PRODUCE


class Connection:
    """One client's connection and its connection to the server."""

    def __init__(self, proxy, client, server):
        self.proxy = proxy
        self.ends = {"client": client, "server": server}
        self.deaf = set()  # ends that get no more bytes
        self.lost = None  # set to lose the server's next answer
        for source, target in (("client", "server"), ("server", "client")):
            threading.Thread(target=self.pump, args=(source, target), daemon=True).start()

    def pump(self, source, target):
        """Copies bytes from one end to the other until either closes."""
        try:
            while True:
                chunk = self.ends[source].recv(CHUNK)
                if not chunk:
                    break
                self.proxy.flowing.wait()
                if source == "client":
                    self.look_for_request(chunk)
                elif self.lost is not None:
                    # The answer proves that the server has executed the request; drop it.
                    self.deaf.add("client")
                    if self.proxy.cut_after_loss:
                        self.cut()
                    self.lost.set()
                if target not in self.deaf:
                    self.ends[target].sendall(chunk)
            if target not in self.deaf:
                self.ends[target].shutdown(socket.SHUT_WR)
        except OSError:
            self.close()

    def look_for_request(self, chunk):
        match, event = self.proxy.take_swallow(chunk)
        if match:
            self.lost = event

    def half_close(self, towards):
        """That end sees the end of the stream; bytes from the other end are dropped."""
        self.deaf.add(towards)
        with contextlib.suppress(OSError):
            self.ends[towards].shutdown(socket.SHUT_WR)

    def cut(self):
        """Both ends see a reset."""
        for end in self.ends.values():
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Sends nothing but wakes the thread that reads from it.
        self.close(socket.SHUT_RD)

    def close(self, how=socket.SHUT_RDWR):
        for end in self.ends.values():
            with contextlib.suppress(OSError):
                end.shutdown(how)
            end.close()
        self.proxy.forget(self)


class Proxy:
    """Listens on `port` of this host (0: any) and forwards to `upstream`."""

    def __init__(self, upstream, port=0, host="127.0.0.1"):
        self.upstream = upstream
        self.connections = set()
        self.lock = threading.Lock()
        self.flowing = threading.Event()
        self.flowing.set()
        self.open = True
        self.wanted = None  # (predicate, event) of the request to lose the answer of
        self.cut_after_loss = False
        self.accepted = 0
        self.listener = socket.create_server((host, port), backlog=64)
        self.host, self.port = self.listener.getsockname()
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.open = False
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.flowing.set()
        self.cut()

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def accept(self):
        while self.open:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        """Connects a new client to the server, once the proxy does not stall."""
        self.flowing.wait()
        try:
            server = socket.create_connection(self.upstream, timeout=10)
        except OSError:
            client.close()
            return
        for end in (client, server):
            end.settimeout(None)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.lock:
            self.accepted += 1
            self.connections.add(Connection(self, client, server))

    def forget(self, connection):
        with self.lock:
            self.connections.discard(connection)

    def current(self):
        with self.lock:
            return list(self.connections)

    # ---- faults ----

    def stall(self):
        self.flowing.clear()

    def resume(self):
        self.flowing.set()

    def cut(self):
        """Resets all connections; returns their number."""
        connections = self.current()
        for connection in connections:
            connection.cut()
        return len(connections)

    def half_close(self, towards):
        """`towards`: "client" or "server", the end that sees the end of the stream. Returns the number
        of connections."""
        connections = self.current()
        for connection in connections:
            connection.half_close(towards)
        return len(connections)

    def swallow(self, predicate, cut):
        """Loses the answer to the next matching request; the connection is then reset, or stays open
        and silent. Returns an event that is set afterwards."""
        event = threading.Event()
        with self.lock:
            self.cut_after_loss = cut
            self.wanted = (predicate, event)
        return event

    def take_swallow(self, chunk):
        """(True, event) if swallow() waits for this request."""
        with self.lock:
            if self.wanted is None or not self.wanted[0](chunk):
                return False, None
            event, self.wanted = self.wanted[1], None
            return True, event

