// Where the other processors begin: from real mode to 64-bit Rust on a stack of their own.
//
// The code is copied to {page} * 4096, which a start-up message (SIPI) names by its page. It
// uses the boot page tables and descriptors of entry.s.

.section .rodata.eggos_processor_start, "a"
.balign 16
.hidden eggos_processor_start
.hidden eggos_processor_end
.global eggos_processor_start
.global eggos_processor_end
.code16
eggos_processor_start:
    jmp 2f
.balign 8                       // at 8: the descriptor table
    .short 23
    .long boot_gdt
2:  cli
    cld
    xor ax, ax
    mov ds, ax
    lgdt [{page} * 4096 + 8]
    mov eax, cr4
    or eax, 0x20                // PAE
    mov cr4, eax
    mov eax, offset boot_pml4
    mov cr3, eax
    mov ecx, 0xc0000080         // EFER
    rdmsr
    or eax, 0x100               // LME
    wrmsr
    mov eax, cr0
    and eax, 0x9fffffff         // CD and NW are set after INIT
    or eax, 0x80010001          // PG, WP, PE
    mov cr0, eax
    .byte 0x66, 0xea            // far jump to a 32-bit offset
    .long {page} * 4096 + (eggos_processor_long - eggos_processor_start)
    .short 0x08
.code64
eggos_processor_long:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    movabs rax, offset eggos_processor_high
    jmp rax
eggos_processor_end:

// At its address in the kernel image, which both page tables map: now to the final ones, in which
// the stack is.
.section .text
eggos_processor_high:
    mov ecx, 0xc0000080         // EFER
    rdmsr
    or eax, [rip + {extended_features}]
    wrmsr
    mov rax, [rip + {root}]
    mov cr3, rax
    mov rsp, [rip + {stack}]
    xor ebp, ebp
    call {start}
    ud2
