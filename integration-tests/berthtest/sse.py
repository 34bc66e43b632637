"""A client of server-sent events, parsing by the HTML standard."""

import contextlib
import http.client
import socket
import threading
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from berthtest.wait import wait_until


@dataclass(frozen=True)
class Sent:
    id: str
    type: str
    data: str


class Listener:
    """Listens in a thread, which appends events to `sent`."""

    def __init__(self, url, last_event_id=None, **params):
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        query = f"?{urlencode(params)}" if params else ""
        connection.request("GET", "/v1/events" + query, headers=headers)
        self.socket = connection.sock
        self.answer = connection.getresponse()
        self.sent, self.comments, self.retry, self.last_id, self.ended = [], [], None, None, False
        self.thread = threading.Thread(target=self._read, daemon=True)
        assert self.answer.status == 200, self.answer.read()
        self.thread.start()

    def _read(self):
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            self._parse(iter(self.answer.readline, b""))  # until it is cut off, or closed
        self.ended = True

    def _parse(self, lines):
        kind, data = "message", []
        for line in lines:
            text = line.decode().removesuffix("\n")
            if not text:
                if data:
                    self.sent.append(Sent(self.last_id, kind, "\n".join(data)))
                kind, data = "message", []
                continue
            name, _, value = text.partition(":")
            value = value.removeprefix(" ")
            if name == "":
                self.comments.append(value)
            elif name == "id":
                self.last_id = value
            elif name == "event":
                kind = value
            elif name == "data":
                data.append(value)
            elif name == "retry":
                self.retry = int(value)
            else:
                raise AssertionError(f"an unknown field: {text}")

    def wait_for(self, count, limit_s=20):
        wait_until(lambda: len(self.sent) >= count, f"{count} events are sent", limit_s)
        return self.sent

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self.thread.join(10)
        self.socket.close()
