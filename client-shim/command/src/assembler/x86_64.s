// The kernel's entry (System V ABI, process initialization): the stack holds the number of arguments, their addresses,
// a null, the environment's, a null. It is handed on as it is; there is nowhere to return to.
.globl _start
_start:
    xor ebp, ebp
    mov rdi, rsp
    and rsp, -16
    call {entry}
    ud2

// What the compiler calls by these names whether there is a C library or not. Not in Rust: the compiler recognises
// loops that do this and makes them calls of themselves. Packets are short: few instructions beat many clever ones,
// each page of which would have to be read first.
.globl memcpy, memmove, memset, memcmp, bcmp, strlen
memcpy:
    mov rax, rdi
    mov rcx, rdx
    rep movsb
    ret
memmove:
    mov rax, rdi
    mov rcx, rdx
    mov r8, rdi
    sub r8, rsi
    cmp r8, rdx // unsigned: the target begins inside the source
    jb 2f
    rep movsb
    ret
2:
    lea rdi, [rdi + rdx - 1]
    lea rsi, [rsi + rdx - 1]
    std
    rep movsb
    cld
    ret
memset:
    mov r8, rdi
    mov eax, esi
    mov rcx, rdx
    rep stosb
    mov rax, r8
    ret
memcmp:
bcmp:
    xor ecx, ecx
3:
    cmp rcx, rdx
    je 4f
    movzx eax, byte ptr [rdi + rcx]
    movzx r8d, byte ptr [rsi + rcx]
    inc rcx
    sub eax, r8d
    je 3b
    ret
4:
    xor eax, eax
    ret
strlen:
    mov rax, rdi
5:
    cmp byte ptr [rax], 0
    je 6f
    inc rax
    jmp 5b
6:
    sub rax, rdi
    ret
