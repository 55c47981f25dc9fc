/* The assembly of contract.c. Offsets are those of struct state. */
        .text
        .set FLAGS, 128
        .set MASK, 160
        .set FX, 256
        .set VECTOR, 768

/* Loads everything but rax (the base itself) and rsp from (%rax). */
        .macro load
        fxrstor64 FX(%rax)
        cmpq    $1, vector_level(%rip)
        jb      9f
        ja      8f
        .irp    i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vmovdqu VECTOR + 64 * \i(%rax), %ymm\i
        .endr
        jmp     9f
8:
        .irp    i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        vmovdqu64 VECTOR + 64 * \i(%rax), %zmm\i
        .endr
        .irp    i, 0, 1, 2, 3, 4, 5, 6, 7
        kmovq   MASK + 8 * \i(%rax), %k\i
        .endr
9:
        pushq   FLAGS(%rax)
        popfq
        movq    8(%rax), %rbx
        movq    16(%rax), %rcx
        movq    24(%rax), %rdx
        movq    32(%rax), %rsi
        movq    40(%rax), %rdi
        movq    48(%rax), %rbp
        movq    64(%rax), %r8
        movq    72(%rax), %r9
        movq    80(%rax), %r10
        movq    88(%rax), %r11
        movq    96(%rax), %r12
        movq    104(%rax), %r13
        movq    112(%rax), %r14
        movq    120(%rax), %r15
        .endm

/* Writes everything to (%rax) but rax, rsp and the flags. Changes flags and rcx. */
        .macro  store
        movq    %rbx, 8(%rax)
        movq    %rcx, 16(%rax)
        movq    %rdx, 24(%rax)
        movq    %rsi, 32(%rax)
        movq    %rdi, 40(%rax)
        movq    %rbp, 48(%rax)
        movq    %r8, 64(%rax)
        movq    %r9, 72(%rax)
        movq    %r10, 80(%rax)
        movq    %r11, 88(%rax)
        movq    %r12, 96(%rax)
        movq    %r13, 104(%rax)
        movq    %r14, 112(%rax)
        movq    %r15, 120(%rax)
        fxsave64 FX(%rax)
        cmpq    $1, vector_level(%rip)
        jb      7f
        ja      8f
        .irp    i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vmovdqu %ymm\i, VECTOR + 64 * \i(%rax)
        .endr
        vzeroupper
        jmp     9f
7:
        .irp    i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movups  %xmm\i, VECTOR + 64 * \i(%rax)
        .endr
        jmp     9f
8:
        .irp    i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        vmovdqu64 %zmm\i, VECTOR + 64 * \i(%rax)
        .endr
        .irp    i, 0, 1, 2, 3, 4, 5, 6, 7
        kmovq   %k\i, MASK + 8 * \i(%rax)
        .endr
        vzeroupper
9:
        .endm

/* What C relies on. */
        .macro  save_callee
        pushq   %rbx
        pushq   %rbp
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        .endm

        .macro  restore_callee
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbp
        popq    %rbx
        .endm

/* Within a crossing the stack holds, from rsp up: room for rax, room for flags, after, before. */
        .macro  enter
        save_callee
        pushq   %rdi
        pushq   %rsi
        subq    $16, %rsp
        movq    %rdi, %rax
        load
        movq    (%rax), %rax
        .endm

        .macro  leave_crossing
        movq    %rax, (%rsp)
        pushfq
        popq    %rax
        cld
        movq    %rax, 8(%rsp)
        movq    16(%rsp), %rax
        store
        movq    (%rsp), %rcx
        movq    %rcx, (%rax)
        movq    8(%rsp), %rcx
        movq    %rcx, FLAGS(%rax)
        fninit
        ldmxcsr default_mxcsr(%rip)
        addq    $32, %rsp
        restore_callee
        .endm

        .globl  _start
_start:
        movq    %rsp, start_state(%rip)
        movq    %rdx, start_state + 8(%rip)
        pushfq
        popq    %rax
        movq    %rax, start_state + 16(%rip)
        stmxcsr start_state + 24(%rip)
        fnstcw  start_state + 28(%rip)
        call    contract_main
        ud2

        .globl  cross_call
cross_call:
        enter
        syscall
        leave_crossing
        ret

        .globl  cross_spin
cross_spin:
        enter
0:      loop    0b                      /* changes no flag */
        leave_crossing
        ret

        .globl  cross_touch
cross_touch:
        enter
0:      movb    %al, (%rdi)
        leaq    4096(%rdi), %rdi
        loop    0b
        leave_crossing
        ret

/* The third argument is where the child writes what it got; then it calls in_child and ends. */
        .globl  cross_clone
cross_clone:
        movq    %rdx, child_state(%rip)
        enter
        syscall
        movq    %rax, %rcx              /* the call spoils rcx anyway */
        jrcxz   1f                      /* changes no flag */
        jmp     2f
1:      jmp     3f
2:      leave_crossing
        ret
3:      movq    child_state(%rip), %rax
        movq    %rsp, 56(%rax)
        pushfq
        popq    FLAGS(%rax)
        cld
        movq    $0, (%rax)
        store
        fninit
        ldmxcsr default_mxcsr(%rip)
        call    in_child
        movl    $60, %eax
        xorl    %edi, %edi
        syscall
        ud2

/* spawn(flags, stack, id, body, argument) */
        .globl  spawn
spawn:
        movq    %rcx, -8(%rsi)
        movq    %r8, -16(%rsi)
        movq    %rdx, %r10
        movl    $56, %eax
        syscall
        testq   %rax, %rax
        jz      1f
        ret
1:      movq    -16(%rsp), %rdi
        movq    -8(%rsp), %rax
        subq    $64, %rsp
        andq    $-16, %rsp
        call    *%rax
        movl    $60, %eax
        xorl    %edi, %edi
        syscall
        ud2

/* Sends SIGUSR1 to the thread; the handler sends it on to landing with every register rewritten. */
        .globl  cross_rewrite
cross_rewrite:
        save_callee
        movq    %rdx, rewritten(%rip)
        movq    %rsp, back(%rip)
        movl    $10, %edx
        movl    $234, %eax
        syscall
        restore_callee                  /* not reached if the handler was obeyed */
        ret

        .globl  landing
landing:
        movq    %rax, spare(%rip)
        movq    %rsp, spare_rsp(%rip)
        movq    back(%rip), %rsp
        pushfq
        popq    %rax
        cld
        movq    %rax, spare_flags(%rip)
        movq    rewritten(%rip), %rax
        store
        movq    spare(%rip), %rcx
        movq    %rcx, (%rax)
        movq    spare_rsp(%rip), %rcx
        movq    %rcx, 56(%rax)
        movq    spare_flags(%rip), %rcx
        movq    %rcx, FLAGS(%rax)
        fninit
        ldmxcsr default_mxcsr(%rip)
        restore_callee
        ret

/* Fills the 128 bytes below rsp, gets a signal, looks again. */
        .globl  red_zone_survives
red_zone_survives:
        movl    $16, %ecx
0:      movq    %rcx, %rax
        negq    %rax
        movq    %rcx, (%rsp, %rax, 8)
        loop    0b
        movl    $10, %edx
        movl    $234, %eax
        syscall
        movl    $16, %ecx
0:      movq    %rcx, %rax
        negq    %rax
        cmpq    %rcx, (%rsp, %rax, 8)
        jne     1f
        loop    0b
        movl    $1, %eax
        ret
1:      xorl    %eax, %eax
        ret

/* Writes the FS base without a call, lets others run, reads the word that FS leads to. */
        .globl  write_fs_and_yield
write_fs_and_yield:
        wrfsbase %rdi
        movl    $24, %eax
        syscall
        movq    %fs:0, %rax
        ret

/* Hands on its stack pointer, then spoils what sigreturn must restore. */
        .globl  handler_entry
handler_entry:
        movq    %rsp, %rcx
        subq    $8, %rsp
        call    handler_in_c
        addq    $8, %rsp
        leaq    garbage(%rip), %rax
        load
        ret

        .globl  restorer
restorer:
        movl    $15, %eax
        syscall
        ud2

        .data
        .balign 64
default_mxcsr:
        .long   0x1f80
        .balign 64
        .globl  start_state
start_state:
        .fill   64, 1, 0
        .globl  vector_level
vector_level:
        .quad   0
child_state:
        .quad   0
rewritten:
        .quad   0
back:
        .quad   0
spare:
        .quad   0
spare_rsp:
        .quad   0
spare_flags:
        .quad   0
        .balign 64
garbage:
        .fill   16, 8, 0x5a5a5a5a5a5a5a5a
        .quad   0xad7                   /* flags, with the direction set */
        .fill   (256 - 136) / 8, 8, 0x3c3c3c3c3c3c3c3c
        .word   0x0a7f, 0x1000, 0x00ff, 0
        .quad   0, 0
        .long   0x1f80 | 0x4000 | 0x3f, 0
        .fill   480 / 8, 8, 0x3fff8888aaaa1111
        .fill   2048 / 8, 8, 0xc3a5c3a5c3a5c3a5

        .section .note.GNU-stack, "", @progbits
