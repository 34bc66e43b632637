"""A server that speaks as much of MySQL's protocol as it takes to ask a client for secrets."""

import contextlib
import socket
import struct
import threading

SALT = b"abcdefghijklmnopqrst"
OK = b"\0\0\0\2\0\0\0"
EOF = b"\xfe\0\0\2\0"
CAPABILITIES = 0x00089289  # a database, 4.1 protocol and authentication, plugins, local files


def text(value):
    return bytes([len(value)]) + value


class FakeServer:
    """Accepts sessions, one after the other, and notes every byte that clients send.

    `dialogue(session)` goes on after the client's answer to the greeting, which names `plugin`.
    """

    def __init__(self, plugin, dialogue):
        self.plugin, self.dialogue = plugin, dialogue
        self.received = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)

    def serve(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            with conn, contextlib.suppress(EOFError, OSError):
                conn.settimeout(20)
                session = Session(self, conn)
                session.greet()
                self.dialogue(session)
                while True:
                    session.receive()


class Session:
    def __init__(self, server, conn):
        self.server, self.conn, self.number = server, conn, 0
        self.plugin = server.plugin

    def send(self, payload):
        self.conn.sendall(struct.pack("<I", len(payload))[:3] + bytes([self.number]) + payload)
        self.number += 1

    def read(self, length):
        data = b""
        while len(data) < length:
            part = self.conn.recv(length - len(data))
            if not part:
                raise EOFError
            self.server.received += part
            data += part
        return data

    def receive(self):
        head = self.read(4)
        self.number = head[3] + 1
        return self.read(int.from_bytes(head[:3], "little"))

    def greet(self):
        self.send(b"\x0a8.0.15\0" + struct.pack("<I", 7) + SALT[:8] + b"\0" +
                  struct.pack("<HBHH", CAPABILITIES & 0xffff, 45, 2, CAPABILITIES >> 16) +
                  bytes([len(SALT) + 1]) + bytes(10) + SALT[8:] + b"\0" +
                  self.server.plugin.encode() + b"\0")
        self.receive()

    def switch(self, plugin):
        """Asks for another plugin; returns the client's answer."""
        self.plugin = plugin
        self.send(b"\xfe" + plugin.encode() + b"\0" + SALT + b"\0")
        return self.receive()

    def rows(self, columns, rows):
        """A result set of text columns."""
        self.send(bytes([len(columns)]))
        for name in columns:
            self.send(text(b"def") + text(b"") * 3 + text(name) * 2 +
                      struct.pack("<BHIBHBH", 12, 63, 255, 253, 0, 0, 0))
        self.send(EOF)
        for row in rows:
            self.send(b"".join(map(text, row)))
        self.send(EOF)
