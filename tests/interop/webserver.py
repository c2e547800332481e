#!/usr/bin/env python3
"""A web server that speaks https and knows no TLS: webserver.py PORT CERT KEY

It accepts, hands over, and serves plaintext. One thread accepts, the main thread hears what became of each
connection, and each open one has a thread of its own. SIGTERM: no new connections, and the open ones are finished.
"""
import http.server
import os
import signal
import socket
import sys
import threading


def daemon():
    """The control connection."""
    path = os.environ.get("TLSIFY_SOCK")
    personal = os.path.join(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent", "tlsifyd.sock")
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control.connect(path or (personal if os.path.exists(personal) else "/run/tlsifyd/tlsifyd.sock"))
    return control


def say(control, verb, *lines, fds=()):
    text = "\n".join([f"tlsify/1 {verb}", *lines, ""])
    socket.send_fds(control, [text.encode()], [f.fileno() for f in fds], socket.MSG_NOSIGNAL)


def hear(control):
    """The next answer: verb, keys, descriptors."""
    data, fds, flags, _ = socket.recv_fds(control, 65536, 64, socket.MSG_CMSG_CLOEXEC)
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or not data:
        sys.exit("webserver: tlsifyd is gone, or its answer was cut short")
    first, *lines = data.decode().splitlines()
    return first.split(" ")[1], dict(line.split("=", 1) for line in lines), fds


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds that a quiet keep-alive connection is kept

    def do_GET(self):
        body = f"{self.command} {self.path} from {self.client_address} over {self.server['protocol']}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


def serve(fd, facts):
    with socket.socket(fileno=fd) as plain:
        try:
            Page(plain, facts.get("peer"), facts)
        except ConnectionError:
            pass  # the peer went away in the middle


def accept(listener, control):
    number = 1
    while True:
        try:
            net, _ = listener.accept()
        except OSError:
            return  # SIGTERM has closed the door
        number += 1
        with net:
            say(control, "accept", f"id={number}", "fds=net", "profile=web", fds=[net])


def main(port, cert, key):
    control = daemon()
    hear(control)  # hello
    with open(cert) as cert_file, open(key) as key_file:
        say(control, "define", "id=1", "profile=web", "role=server", "fds=certificate key", "alpn=http/1.1",
            fds=[cert_file, key_file])
    verb, keys, _ = hear(control)
    if verb != "defined":
        sys.exit(f"webserver: {keys['code']}: {keys['text']}")

    listener = socket.create_server(("", int(port)), backlog=128)
    print(f"listening on {listener.getsockname()[1]}", flush=True)

    def stop(*_):
        listener.shutdown(socket.SHUT_RDWR)
        sys.exit()  # Python waits for the threads that serve

    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=accept, args=(listener, control), daemon=True).start()
    while True:
        verb, keys, fds = hear(control)
        if verb == "established":
            threading.Thread(target=serve, args=(fds[0], keys)).start()
        elif verb in ("failed", "refused"):
            print(f"no session: {keys['code']}: {keys['text']}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
