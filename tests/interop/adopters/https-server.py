"""An https server of Python's own, with OpenSSL, to fetch pages from.

  https-server.py CERTIFICATE KEY      says "port N", then a line for each request

  /small      a line          /big    10 MiB that are not the same line for ever, with their length said before
  /unsized    as /big, and the end of the connection is the end of the page
  /cut        half of what it promises, and then the end of TCP without that of TLS
  /lost       the same without a promise
  POST /echo  what was posted
"""

import hashlib
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BIG = b"".join(hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(10 * 1024 * 1024 // 32))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"
    is_cut = False

    def do_GET(self):
        body = {"/small": b"a small page\n", "/big": BIG, "/unsized": BIG, "/cut": BIG, "/lost": BIG}.get(self.path)
        if body is None:
            return self.send_error(404)
        self.is_cut = self.path in ("/cut", "/lost")
        self.answer(body, with_length=self.path in ("/small", "/big", "/cut"))

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body, with_length=True):
        self.send_response(200)
        self.send_header("X-SHA256", hashlib.sha256(body).hexdigest())
        self.send_header("Content-Type", self.headers.get("Content-Type", "text/plain"))
        if with_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.is_cut else body)

    def log_message(self, format, *words):
        print(format % words, flush=True)

    def handle(self):
        # Here and not where connections are accepted: a peer that fails is only its own thread's matter.
        self.connection.do_handshake()
        super().handle()
        self.wfile.flush()
        if not self.is_cut:
            try:
                self.connection.unwrap()
            except (OSError, ssl.SSLError):
                pass  # It has said goodbye in its own way.


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        print("error", repr(sys.exc_info()[1]), flush=True)


if __name__ == "__main__":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print("port", server.server_address[1], flush=True)
    server.serve_forever()
