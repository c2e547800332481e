/* The command's own memcpy and the like against loops, at every alignment, length and overlap that a packet can have.
   They are linked under these names in front of libc's. Says what is wrong first, and ends with 1. */
#include <stdio.h>
#include <string.h>
#define SIZE 300

static unsigned char is[SIZE], should[SIZE];

static void fill(void) {
    for (int i = 0; i < SIZE; i++) is[i] = should[i] = (unsigned char)(i * 7 + 1);
}

static int wrong(const char *what, int to, int from, int count) {
    printf("%s to %d from %d of %d\n", what, to, from, count);
    return 1;
}

int main(void) {
    void *(*volatile copy)(void *, const void *, size_t) = memcpy, *(*volatile move)(void *, const void *, size_t) = memmove;
    void *(*volatile set)(void *, int, size_t) = memset;
    int (*volatile compare)(const void *, const void *, size_t) = memcmp;
    size_t (*volatile length)(const char *) = strlen;
    for (int to = 0; to < 40; to++)
        for (int from = 0; from < 40; from++)
            for (int count = 0; count < 70; count++) {
                unsigned char saved[SIZE];
                fill();
                for (int i = 0; i < SIZE; i++) saved[i] = is[i];
                for (int i = 0; i < count; i++) should[to + i] = saved[from + i];
                if (move(is + to, is + from, count) != is + to) return wrong("move's result", to, from, count);
                for (int i = 0; i < SIZE; i++)
                    if (is[i] != should[i]) return wrong("move", to, from, count);
                fill();
                for (int i = 0; i < count; i++) should[150 + to + i] = saved[from + i];
                if (copy(is + 150 + to, is + from, count) != is + 150 + to) return wrong("copy's result", to, from, count);
                for (int i = 0; i < SIZE; i++)
                    if (is[i] != should[i]) return wrong("copy", to, from, count);
                fill();
                for (int i = 0; i < count; i++) should[to + i] = (unsigned char)(from * 9);
                if (set(is + to, from * 9 + 256, count) != is + to) return wrong("set's result", to, from, count);
                for (int i = 0; i < SIZE; i++)
                    if (is[i] != should[i]) return wrong("set", to, from, count);
                /* Equal up to the last byte, which is more, the same or less. */
                for (int last = -1; last <= 1 && count > 0; last++) {
                    for (int i = 0; i < count; i++) is[to + i] = is[150 + from + i] = (unsigned char)(200 + i);
                    is[to + count - 1] = (unsigned char)(100 + last), is[150 + from + count - 1] = 100;
                    int said = compare(is + to, is + 150 + from, count);
                    if ((said > 0) - (said < 0) != last) return wrong("compare", to, from, count);
                }
                fill();
                for (int i = 0; i < count; i++) is[to + i] = 'x';
                is[to + count] = 0;
                if (length((char *)is + to) != (size_t)count) return wrong("length", to, from, count);
            }
    return compare("a", "b", 0) != 0;
}
