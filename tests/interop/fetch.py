#!/usr/bin/env python3
"""Fetches a page over https and knows no TLS: fetch.py HOST PORT CA [NAME]

CA is a bundle of PEM certificates; NAME is who the server must be, when that is not HOST. Prints the page. Ends with
97 when the daemon refused, 98 when TLS failed or the page was cut short.
"""
import http.client
import os
import socket
import sys


def daemon():
    """The control connection."""
    path = os.environ.get("TLSIFY_SOCK")
    personal = os.path.join(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent", "tlsifyd.sock")
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control.connect(path or (personal if os.path.exists(personal) else "/run/tlsifyd/tlsifyd.sock"))
    return control


def hear(control):
    """The next answer: verb, keys, descriptors."""
    data, fds, flags, _ = socket.recv_fds(control, 65536, 64, socket.MSG_CMSG_CLOEXEC)
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or not data:
        sys.exit("fetch: tlsifyd is gone, or its answer was cut short")
    first, *lines = data.decode().splitlines()
    return first.split(" ")[1], dict(line.split("=", 1) for line in lines), fds


def fail(status, text):
    print(f"fetch: {text}", file=sys.stderr)
    sys.exit(status)


def main(host, port, ca, name=None):
    control = daemon()
    hear(control)  # hello
    with socket.create_connection((host, int(port))) as net, open(ca) as trusted:
        request = f"tlsify/1 connect\nid=1\nfds=net ca\nname={name or host}\ntrust=descriptor\nalpn=http/1.1\n"
        socket.send_fds(control, [request.encode()], [net.fileno(), trusted.fileno()], socket.MSG_NOSIGNAL)
    verb, keys, fds = hear(control)
    if verb != "established":
        fail(97 if verb == "refused" else 98, f"{verb} ({keys['code']}): {keys['text']}")

    page = http.client.HTTPConnection(name or host)
    page.sock = socket.socket(fileno=fds[0])
    page.request("GET", "/", headers={"Connection": "close"})
    body = page.getresponse().read()
    page.close()
    verb, ended, _ = hear(control)
    sys.stdout.buffer.write(body)
    print(f"fetch: {keys['protocol']} {keys['cipher']}, ended by {ended['how']}", file=sys.stderr)
    if ended["how"] not in ("close-notify", "caller"):
        fail(98, "the page was cut short")


if __name__ == "__main__":
    main(*sys.argv[1:])
