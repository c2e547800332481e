/* Talking to tlsifyd in C, with nothing but the C library. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The control connection, or -1. The daemon speaks first: hear() its hello. */
static int handoff_open(void) {
    const char *path = getenv("TLSIFY_SOCK");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s", path ? path : "/run/tlsifyd/tlsifyd.sock");
    int control = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    return connect(control, (struct sockaddr *)&to, sizeof to) ? -1 : control;
}

/* Sends one message with its descriptors (at most 4): 0, or -1. */
static int say(int control, const char *text, int count, const int *fds) {
    union { struct cmsghdr head; char space[CMSG_SPACE(4 * sizeof(int))]; } rights = {0};
    struct iovec bytes = {(void *)text, strlen(text)};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
    if (count > 0) {
        rights.head = (struct cmsghdr){.cmsg_len = CMSG_LEN(count * sizeof(int)),
                                       .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&rights.head), fds, count * sizeof(int));
        message.msg_control = &rights;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    }
    return sendmsg(control, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

/* Receives one message, as text, and its descriptor if it has one, else -1. Returns 0, or -1 at the end. */
static int hear(int control, char *text, size_t size, int *fd) {
    union { struct cmsghdr head; char space[CMSG_SPACE(sizeof(int))]; } rights = {0};
    struct iovec bytes = {text, size - 1};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &rights,
                             .msg_controllen = CMSG_LEN(sizeof(int))};
    ssize_t length = recvmsg(control, &message, MSG_CMSG_CLOEXEC);
    *fd = -1;
    if (length <= 0 || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) return -1;
    text[length] = 0;
    if (message.msg_controllen >= CMSG_LEN(sizeof(int))) memcpy(fd, CMSG_DATA(&rights.head), sizeof(int));
    return 0;
}
