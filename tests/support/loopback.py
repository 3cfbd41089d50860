"""A server on loopback that serves one file, whole or cut short."""

import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Serves `server.content`; drops connections after `server.cuts` bytes; honours ranges if told to.

    `server.answers`, where it is set, may answer instead, and `server.path` is another place of the file.
    """

    def do_GET(self):
        server = self.server
        server.requests.append((self.path, self.headers.get("Range")))
        if server.answers and server.answers(self):
            return
        if self.path not in ("/mirror/resnet/weights.h5", server.path):
            self.send_error(404)
            return
        start = 0
        asked = self.headers.get("Range")
        if asked and server.ranges:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(server.content) - start))
        self.end_headers()
        body = server.content[start:]
        if server.cuts:
            self.wfile.write(body[: server.cuts.pop(0)])
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def mirror_of(content, monkeypatch, user_cache):
    """A mirror with `content` as its one "official" file, and an empty user cache; `cuts` are where answers end."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.content, server.cuts, server.ranges, server.requests = content, [], True, []
        server.path, server.answers = None, None
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        monkeypatch.setenv("FACEDEP_WEIGHTS_MIRROR", f"http://127.0.0.1:{server.server_port}/mirror/")
        monkeypatch.setenv("FACEDEP_CACHE", str(user_cache))
        yield server
        server.shutdown()
        thread.join()
