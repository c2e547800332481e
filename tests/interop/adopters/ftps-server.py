"""An FTP server that speaks TLS from the first byte on (RFC 4217's grandfather, "implicit"), with one file to fetch.

  ftps-server.py CERTIFICATE KEY      says "port N", then each command; "left" when a client has

It never ends a connection by itself: a client that is gone has to be seen to be gone.
"""

import hashlib
import socket
import socketserver
import ssl
import sys

FILE = b"".join(hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(10 * 1024 * 1024 // 32))
REPLIES = {"USER": "331 whose?", "PASS": "230 come in", "TYPE": "200 so be it", "PROT": "200 so be it"}


class Client(socketserver.StreamRequestHandler):
    def say(self, line):
        self.wfile.write(line.encode() + b"\r\n")

    def handle(self):
        self.request.do_handshake()
        self.say("220 ready")
        for line in self.rfile:
            command, _, argument = line.decode().rstrip("\r\n").partition(" ")
            print(command, argument, flush=True)
            if command == "PASV":
                data = socket.create_server(("127.0.0.1", 0))
                port = data.getsockname()[1]
                self.say(f"227 here (127,0,0,1,{port // 256},{port % 256})")
            elif command == "SIZE":
                self.say(f"213 {len(FILE)}")
            elif command == "RETR":
                self.send(data)
            else:
                self.say(REPLIES.get(command, "502 no"))
        print("left", flush=True)

    def send(self, data):
        self.say("150 it comes")
        connection, _ = data.accept()
        with self.server.context.wrap_socket(connection, server_side=True) as connection:
            connection.sendall(FILE)
            try:
                connection.unwrap()
            except (OSError, ssl.SSLError):
                pass  # It knew the length, and has left.
        self.say("226 that was it")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        print("error", repr(sys.exc_info()[1]), flush=True)


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Client)
    server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.context.load_cert_chain(sys.argv[1], sys.argv[2])
    wrap = server.context.wrap_socket
    server.socket = wrap(server.socket, server_side=True, do_handshake_on_connect=False)
    print("port", server.server_address[1], flush=True)
    server.serve_forever()
