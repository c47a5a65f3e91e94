"""Tests of the bench's own counting and judging: a benchmark that is wrong is worse than none.

    python3 -m unittest discover benches/stores
"""

import http.client
import http.server
import socket
import sys
import tempfile
import threading
import unittest
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "rivals"))

import data  # noqa: E402  (the path to the race's modules comes first)
import judged  # noqa: E402
from counting import CountingProxy, Request, by_kind  # noqa: E402


class Answers(http.server.BaseHTTPRequestHandler):
    """A server whose answers are framed in every way."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n")
        elif self.path == "/until-the-end":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"the rest")
            self.close_connection = True
        else:
            self.sized(b"x" * 1000)

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.sized(b"%d" % len(body))

    def do_DELETE(self):
        self.send_response(204)
        self.end_headers()

    def sized(self, body: bytes):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    """Says nothing of clients that go away."""

    def handle_error(self, *_):
        pass


class Counting(unittest.TestCase):
    def setUp(self):
        self.server = Server(("127.0.0.1", 0), Answers)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.proxy = CountingProxy(self.server.server_port)
        self.addCleanup(self.proxy.__exit__)

    def ask(self, *requests: tuple) -> list[bytes]:
        """Requests over one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.port, timeout=10)
        self.addCleanup(connection.close)
        bodies = []
        for method, path, body in requests:
            connection.request(method, path, body=body)
            bodies.append(connection.getresponse().read())
        return bodies

    def test_bodies_of_every_framing_pass_and_are_counted(self):
        asked = [("GET", "/sized", None), ("HEAD", "/sized", None), ("GET", "/chunked", None)]
        asked += [("DELETE", "/sized", None), ("PUT", "/sized", b"y" * 300_000), ("GET", "/until-the-end", None)]
        bodies = self.ask(*asked)
        self.assertEqual(bodies, [b"x" * 1000, b"", b"abcde", b"", b"300000", b"the rest"])
        taken = self.proxy.take()
        self.assertEqual([(one.method, one.target) for one in taken], [(method, path) for method, path, _ in asked])
        self.assertTrue(1000 < taken[0].received_bytes < 1500)
        self.assertLess(taken[1].received_bytes, 500)
        self.assertTrue(300_000 < taken[4].sent_bytes < 300_500)
        self.assertEqual([one.status for one in taken], [200, 200, 200, 204, 200, 200])
        self.assertEqual(self.proxy.take(), [])

    def test_a_client_that_waits_for_leave_gets_it(self):
        with socket.create_connection(("127.0.0.1", self.proxy.port), timeout=10) as connection:
            head = b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
            connection.sendall(head + b"Expect: 100-continue\r\nConnection: close\r\n\r\n")
            self.assertIn(b" 100 ", connection.recv(1000))
            connection.sendall(b"abc")
            answer = b""
            while block := connection.recv(1000):
                answer += block
        self.assertTrue(answer.endswith(b"\r\n\r\n3"))

    def test_a_request_that_is_cut_short_counts(self):
        with socket.create_connection(("127.0.0.1", self.proxy.port), timeout=10) as connection:
            connection.sendall(b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\n\r\nabc")
        while not (taken := self.proxy.take()):
            threading.Event().wait(0.01)
        self.assertEqual([(one.method, one.status) for one in taken], [("PUT", 0)])


class Kinds(unittest.TestCase):
    def test_requests_are_named_by_what_they_are_for(self):
        kinds = {
            ("GET", "/bucket/base/pack/ab/cd"): "GET pack",
            ("GET", "/bucket?list-type=2&prefix=base%2Fsnapshot%2Fff"): "LIST snapshot",
            ("GET", "/bucket/?max-keys=1&list-type=2&prefix=base/checkpoint/"): "FIRST checkpoint",
            ("GET", "/bucket?list-type=2&prefix=base/"): "LIST (all)",
            ("GET", "/bucket/?location="): "GET (location)",
            ("PUT", "/bucket/base/index/1"): "PUT index",
            ("HEAD", "/bucket/base/config"): "HEAD config",
        }
        for (method, target), kind in kinds.items():
            self.assertEqual(Request(method, target).kind("bucket", "base"), kind)

    def test_kinds_are_summed(self):
        requests = [Request("GET", "/b/a/pack/1", 200, 5, 10), Request("GET", "/b/a/pack/2", 200, 6, 20)]
        self.assertEqual(by_kind(requests, "b", "a"), {"GET pack": (2, 30, 11)})


class Judging(unittest.TestCase):
    def test_a_ratio_of_throughputs_is_one_of_times_turned_round(self):
        self.assertTrue(judged.speed_ratio("x", 1.0, 0.85, "y", 0.85).passed)
        self.assertFalse(judged.speed_ratio("x", 1.0, 0.84, "y", 0.85).passed)

    def test_a_limit_is_a_limit(self):
        self.assertTrue(judged.at_most("x", "requests", 200, 200).passed)
        one = judged.at_most("x", "requests", 201, 200)
        self.assertFalse(one.passed)
        self.assertIn("SHORT", judged.closing([one], 0))

    def test_what_was_not_measured_stays_empty(self):
        lines = judged.table("t", {"a": 0, "b": 1}, {"x": [1, None]})
        self.assertEqual(lines[-1].split(), ["x", "1"])


class Data(unittest.TestCase):
    def test_a_change_moves_a_thousandth_and_turns_back(self):
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "large"
            path.write_bytes(bytes(8192 * 2000))
            self.assertEqual(data.change(path), 2 * 8192)
            self.assertEqual(path.read_bytes().count(0xFF), 2 * 8192)
            data.change(path)
            self.assertEqual(path.read_bytes().count(0), 8192 * 2000)

    def test_every_small_file_differs(self):
        with tempfile.TemporaryDirectory() as place:
            data.Million.make(Path(place), 0.000001)
            contents = {path.read_bytes() for path in Path(place).rglob("file-*")}
            self.assertEqual(len(contents), data.FILES_IN_DIRECTORY)


if __name__ == "__main__":
    unittest.main()
