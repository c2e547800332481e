"""A small IRC server with the TLS of Python, which is OpenSSL's: enough of RFC 1459 for clients that behave.

  irc-server.py CERTIFICATE KEY      says "port N", then what happens

Who wants in has to answer a PING first, as on servers that are tired of robots.
"""

import socketserver
import ssl
import sys
import threading


class Client(socketserver.StreamRequestHandler):
    nick = user = None
    answered = welcome = False

    def say(self, line):
        with self.server.lock:
            self.wfile.write(line.encode() + b"\r\n")

    def handle(self):
        self.request.do_handshake()
        for line in self.rfile:
            command, _, rest = line.decode().rstrip("\r\n").partition(" ")
            if command == "QUIT":
                break
            self.obey(command, rest)
        self.leave()
        self.say(f"ERROR :Closing link ({rest.removeprefix(':')})")
        self.request.unwrap()

    def obey(self, command, rest):
        if command == "NICK":
            self.nick = rest
            self.say("PING :are-you-there")
        elif command == "USER":
            self.user = rest.split(" ")[0]
        elif command == "PONG":
            self.answered = rest == ":are-you-there"
        elif command == "JOIN" and self.welcome:
            self.server.channels.setdefault(rest, set()).add(self)
            self.tell(rest, f"JOIN {rest}")
        elif command == "PRIVMSG" and self.welcome:
            channel, _, text = rest.partition(" ")
            self.tell(channel, f"PRIVMSG {channel} {text}", but=self)
        else:
            self.say(f":test 421 {self.nick} {command} :Unknown command")
        if self.nick and self.user and self.answered and not self.welcome:
            self.welcome = True
            self.say(f":test 001 {self.nick} :Welcome")

    def tell(self, channel, what, but=None):
        print(self.nick, what, flush=True)
        for other in self.server.channels.get(channel, set()) - {but}:
            other.say(f":{self.nick}!{self.user}@test {what}")

    def leave(self):
        for members in self.server.channels.values():
            members.discard(self)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    channels, lock = {}, threading.Lock()

    def handle_error(self, request, client_address):
        print("error", repr(sys.exc_info()[1]), flush=True)


if __name__ == "__main__":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    server = Server(("127.0.0.1", 0), Client)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print("port", server.server_address[1], flush=True)
    server.serve_forever()
