/* One https answer for each connection: server PORT CERT KEY */
#include "handoff.h"

int main(int argc, char **argv) {
    char text[65537];
    int fd, on = 1, control = handoff_open();
    if (argc != 4 || control < 0 || hear(control, text, sizeof text, &fd)) return perror("server"), 97;
    int identity[] = {open(argv[2], O_RDONLY | O_CLOEXEC), open(argv[3], O_RDONLY | O_CLOEXEC)};
    say(control, "tlsify/1 define\nid=1\nprofile=web\nrole=server\nfds=certificate key\n", 2, identity);
    close(identity[0]), close(identity[1]);
    if (hear(control, text, sizeof text, &fd) || strncmp(text, "tlsify/1 defined\n", 17))
        return fputs(text, stderr), 97;

    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(argv[1]))};
    int listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 64)) return perror("server"), 111;
    for (unsigned id = 2;; id++) {
        char request[80], answer[] = "HTTP/1.0 200 OK\r\n\r\nhello from C\n";
        int net = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (net < 0) continue;
        snprintf(request, sizeof request, "tlsify/1 accept\nid=%u\nfds=net\nprofile=web\n", id);
        say(control, request, 1, &net);
        close(net); /* the daemon has its own copy */
        do {
            if (hear(control, text, sizeof text, &fd)) return 97; /* also tells how earlier sessions ended */
        } while (!strncmp(text, "tlsify/1 ended\n", 15));
        if (strncmp(text, "tlsify/1 established\n", 21)) { /* refused or failed: the text says why */
            fputs(text, stderr), close(fd); /* failed can bring the peer's chain */
            continue;
        }
        if (read(fd, text, sizeof text) > 0) send(fd, answer, strlen(answer), MSG_NOSIGNAL);
        close(fd); /* the peer gets close_notify */
    }
}
