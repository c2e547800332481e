"""A small IRC server with the TLS of Python, which is OpenSSL's: enough of RFC 1459 for clients that behave.

  irc-server.py CERTIFICATE KEY      says "port N", then what happens

Who wants in has to answer a PING first, as on servers that are tired of robots. Everybody is served in one thread:
before 3.13, Python's TLS must not be written in one while another reads.
"""

import asyncio
import ssl
import sys

channels = {}


class Client:
    nick = user = None
    answered = welcome = False

    def __init__(self, writer):
        self.writer = writer

    def say(self, line):
        self.writer.write(line.encode() + b"\r\n")

    def obey(self, command, rest):
        if command == "NICK":
            self.nick = rest
            self.say("PING :are-you-there")
        elif command == "USER":
            self.user = rest.split(" ")[0]
        elif command == "PONG":
            self.answered = rest == ":are-you-there"
        elif command == "JOIN" and self.welcome:
            channels.setdefault(rest, set()).add(self)
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
        for other in channels.get(channel, set()) - {but}:
            other.say(f":{self.nick}!{self.user}@test {what}")


async def serve(reader, writer):
    client = Client(writer)
    while line := await reader.readline():
        command, _, rest = line.decode().rstrip("\r\n").partition(" ")
        if command == "QUIT":
            client.say(f"ERROR :Closing link ({rest.removeprefix(':')})")
            break
        client.obey(command, rest)
    for members in channels.values():
        members.discard(client)
    writer.close()  # with close_notify


async def main(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    print("port", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
