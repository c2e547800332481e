/* Fetches a page over https: client HOST PORT CA */
#include "handoff.h"

int main(int argc, char **argv) {
    char text[65537];
    int plain, control = handoff_open();
    if (argc != 4 || control < 0 || hear(control, text, sizeof text, &plain)) return perror("client"), 97;
    struct addrinfo *to, want = {.ai_socktype = SOCK_STREAM};
    if (getaddrinfo(argv[1], argv[2], &want, &to)) return 111;
    int fds[] = {-1, open(argv[3], O_RDONLY | O_CLOEXEC)};
    for (; to; to = to->ai_next, close(fds[0])) {
        fds[0] = socket(to->ai_family, to->ai_socktype | SOCK_CLOEXEC, 0);
        if (!connect(fds[0], to->ai_addr, to->ai_addrlen)) break;
    }
    snprintf(text, sizeof text, "tlsify/1 connect\nid=1\nfds=net ca\nname=%s\ntrust=descriptor\n", argv[1]);
    if (!to || say(control, text, 2, fds)) return perror("client"), 111;
    close(fds[0]), close(fds[1]);
    /* `failed` can bring a descriptor too, the peer's chain: the verb says what this is. */
    if (hear(control, text, sizeof text, &plain) || strncmp(text, "tlsify/1 established\n", 21))
        return fputs(text, stderr), 98;

    dprintf(plain, "GET / HTTP/1.0\r\nHost: %s\r\n\r\n", argv[1]);
    for (ssize_t got; (got = read(plain, text, sizeof text)) > 0;) fwrite(text, 1, got, stdout);
    close(plain);
    /* The end of the stream is the end of the page only if the peer said so. */
    if (hear(control, text, sizeof text, &plain) || !strstr(text, "\nhow=close-notify\n")) return 98;
}
