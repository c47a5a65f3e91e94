"""A proxy that counts: each HTTP request that passes, and its bytes both ways.

It changes nothing and looks at no content. A thread per connection is quick enough, since what is
judged behind it is how much is asked, not how long it takes.
"""

import socket
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

BLOCK_BYTES = 1 << 18
HEAD_LIMIT_BYTES = 1 << 16


@dataclass
class Request:
    """One request and its answer; bytes are of head and body together."""

    method: str
    target: str
    status: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0

    def kind(self, bucket: str, base: str) -> str:
        """`LIST snapshot`: what was done, and the first part of the key below `base`."""
        parts = urlsplit(self.target)
        query = parse_qs(parts.query, keep_blank_values=True)
        name = unquote(parts.path).strip("/").removeprefix(bucket).strip("/")
        method = self.method
        if not name and method == "GET":
            method = "LIST"
            name = (query.get("prefix") or [""])[0]
            if "location" in query:
                return "GET (location)"
        if method == "LIST" and query.get("max-keys") == ["1"]:
            method = "FIRST"
        key = name.strip("/").removeprefix(base).strip("/")
        return f"{method} {key.split('/')[0] or '(all)'}"


class Ended(Exception):
    """A connection ended where more was due."""


class Stream:
    """One end of a connection, read by heads and bodies."""

    def __init__(self, connection: socket.socket):
        self.connection = connection
        self.buffer = bytearray()

    def fill(self) -> bool:
        """Reads on; false at the end."""
        block = self.connection.recv(BLOCK_BYTES)
        self.buffer += block
        return bool(block)

    def head(self) -> bytes:
        """Up to the empty line; nothing at a proper end."""
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            if len(self.buffer) > HEAD_LIMIT_BYTES:
                raise Ended
            if not self.fill():
                if self.buffer:
                    raise Ended
                return b""
        return self.take(end + 4)

    def line(self) -> bytes:
        while (end := self.buffer.find(b"\r\n")) < 0:
            if not self.fill():
                raise Ended
        return self.take(end + 2)

    def take(self, length: int) -> bytes:
        taken = bytes(self.buffer[:length])
        del self.buffer[:length]
        return taken

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def pass_on(self, to: "Stream", length: int, count) -> None:
        """Hands on so many bytes as they come."""
        while length > 0:
            if not self.buffer and not self.fill():
                raise Ended
            block = self.take(min(length, len(self.buffer)))
            length -= len(block)
            count(len(block))
            to.send(block)

    def pass_chunks(self, to: "Stream", count) -> None:
        """Hands on a chunked body with its trailer."""
        while True:
            line = self.line()
            count(len(line))
            to.send(line)
            length = int(line.split(b";")[0], 16)
            if length == 0:
                break
            self.pass_on(to, length + 2, count)
        while True:
            line = self.line()
            count(len(line))
            to.send(line)
            if line == b"\r\n":
                return

    def pass_rest(self, to: "Stream", count) -> None:
        """Hands on what comes until the end."""
        while self.buffer or self.fill():
            block = self.take(len(self.buffer))
            count(len(block))
            to.send(block)


def fields(head: bytes) -> dict[str, str]:
    """Header fields by their names in small letters."""
    pairs = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:] if line)
    return {name.strip().lower(): value.strip().lower() for name, _, value in pairs}


class CountingProxy:
    """Listens on a port of its own and hands on to `upstream_port`, until it is closed."""

    def __init__(self, upstream_port: int):
        self.upstream_port = upstream_port
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.requests: list[Request] = []
        self.lock = threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self) -> "CountingProxy":
        return self

    def __exit__(self, *_) -> None:
        self.listener.close()

    def take(self) -> list[Request]:
        """The requests since the last call, or since the start."""
        with self.lock:
            taken, self.requests = self.requests, []
        return taken

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        """All requests of one connection, one after the other."""
        upstream = socket.create_connection(("127.0.0.1", self.upstream_port))
        with client, upstream, suppress(Ended, OSError, ValueError):
            for connection in (client, upstream):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            near, far = Stream(client), Stream(upstream)
            while head := near.head():
                method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
                request = Request(method, target, sent_bytes=len(head))
                try:
                    goes_on = exchange(request, head, near, far)
                finally:
                    # One that was cut short was asked all the same.
                    with self.lock:
                        self.requests.append(request)
                if not goes_on:
                    return


def exchange(request: Request, head: bytes, near: Stream, far: Stream) -> bool:
    """Hands one request on and its answer back; false if the connection ends with it."""

    def sent(length: int) -> None:
        request.sent_bytes += length

    def received(length: int) -> None:
        request.received_bytes += length

    asked = fields(head)
    far.send(head)
    answer = b""
    if asked.get("expect") == "100-continue":
        answer = far.head()
        if status_of(answer) == 100:
            near.send(answer)
            answer = b""
    if not answer:
        # Whoever refuses early answers all the same, so a body that is not wanted is no end.
        with suppress(BrokenPipeError, ConnectionResetError):
            pass_body(asked, near, far, sent)
        answer = far.head()
    while 100 <= status_of(answer) < 200:
        near.send(answer)
        answer = far.head()
    request.status = status_of(answer)
    received(len(answer))
    near.send(answer)
    told = fields(answer)
    if request.method != "HEAD" and request.status not in (204, 304) and not pass_body(told, far, near, received):
        far.pass_rest(near, received)
        return False
    return "close" not in (asked.get("connection"), told.get("connection"))


def pass_body(said: dict[str, str], source: Stream, to: Stream, count) -> bool:
    """Hands on a body by the framing that its head states; false if it states none."""
    if "chunked" in said.get("transfer-encoding", ""):
        source.pass_chunks(to, count)
    elif "content-length" in said:
        source.pass_on(to, int(said["content-length"]), count)
    else:
        return False
    return True


def status_of(head: bytes) -> int:
    if not head:
        raise Ended
    return int(head.split(b" ", 2)[1])


def by_kind(requests: list[Request], bucket: str, base: str) -> dict[str, tuple[int, int, int]]:
    """Number, bytes received and bytes sent of each kind of request, most frequent first."""
    number, received, sent = Counter(), Counter(), Counter()
    for one in requests:
        kind = one.kind(bucket, base)
        number[kind] += 1
        received[kind] += one.received_bytes
        sent[kind] += one.sent_bytes
    return {kind: (count, received[kind], sent[kind]) for kind, count in number.most_common()}
