// The kernel's entry (System V ABI, process initialization): the stack holds the number of arguments, their addresses,
// a null, the environment's, a null. It is handed on as it is; there is nowhere to return to.
.globl _start
_start:
    mov x29, xzr
    mov x30, xzr
    mov x0, sp
    bl {entry}
    brk #1

// What the compiler calls by these names whether there is a C library or not. Not in Rust: the compiler recognises
// loops that do this and makes them calls of themselves. Packets are short: few instructions beat many clever ones,
// each page of which would have to be read first.
.globl memcpy, memmove, memset, memcmp, bcmp, strlen
memcpy:
    mov x3, x0
2:
    cbz x2, 3f
    ldrb w4, [x1], #1
    strb w4, [x3], #1
    sub x2, x2, #1
    b 2b
3:
    ret
memmove:
    sub x3, x0, x1
    cmp x3, x2 // unsigned: the target begins inside the source
    b.hs memcpy
4:
    cbz x2, 5f
    sub x2, x2, #1
    ldrb w4, [x1, x2]
    strb w4, [x0, x2]
    b 4b
5:
    ret
memset:
    mov x3, x0
6:
    cbz x2, 7f
    strb w1, [x3], #1
    sub x2, x2, #1
    b 6b
7:
    ret
memcmp:
bcmp:
    mov x3, x0
8:
    cbz x2, 9f
    ldrb w4, [x3], #1
    ldrb w5, [x1], #1
    sub x2, x2, #1
    subs w0, w4, w5
    b.eq 8b
    ret
9:
    mov w0, wzr
    ret
strlen:
    mov x1, x0
2:
    ldrb w2, [x1]
    cbz w2, 3f
    add x1, x1, #1
    b 2b
3:
    sub x0, x1, x0
    ret
