// The first instructions: from the loader's state to 64-bit Rust on the kernel's own stack.
//
// boot_pvh32       PVH (QEMU, Cloud Hypervisor, Firecracker): 32-bit, paging off, ebx = start info.
// boot_multiboot32 multiboot2 (GRUB, and the EFI stub of hal/efi): the same state, ebx = information.
// boot_linux64     Linux 64-bit boot protocol (older Firecracker): long mode, identity-mapped,
//                  rsi = boot_params.
//
// All build the same page tables: the first 4 GiB at 0 and at the direct map, the first 1 GiB at
// the kernel's base; all writable and executable, until Rust replaces them by the final ones.

.set DIRECT_SLOT, 256
.set KERNEL_SLOT, 511

.section .note.pvh, "a", @note
.align 4
    .long 4, 4, 18              // XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long boot_pvh32

// What a loader of multiboot2 looks for in the first 32 KiB of the file: multiboot2 specification
// 2.0, section 3.1. Tags are aligned to 8 bytes; in their flags 1 means optional.
.set MULTIBOOT_MAGIC, 0xe85250d6
.section .multiboot, "a", @progbits
.align 8
multiboot_header:
    .long MULTIBOOT_MAGIC, 0, multiboot_end - multiboot_header
    .long -(MULTIBOOT_MAGIC + (multiboot_end - multiboot_header))
    .short 3, 0                 // the entry, in place of the ELF header's, which is Linux's
    .long 12, boot_multiboot32, 0
    .short 5, 1                 // a framebuffer, of any size
    .long 20, 0, 0, 32, 0
    .short 6, 0                 // modules start on pages
    .long 8
    .short 0, 0
    .long 8
multiboot_end:
// What `egg build` finds by the first word and fills in: the physical addresses of the first byte
// of an archive within this file and of the one past its last; then length and checksum of the
// archive, wherever it is.
.global boot_archive
    .ascii "eggosELF"
boot_archive:
    .quad 0, 0, 0, 0

.section .boot.bss, "aw", @nobits
.align 4096
.global boot_pml4
boot_pml4:      .skip 4096
boot_low:       .skip 4096
boot_kernel:    .skip 4096
boot_pages:     .skip 4096 * 4
boot_stack:     .skip 256
boot_stack_top:

.section .boot.text, "ax"
.align 8
.global boot_gdt
boot_gdt:
    .quad 0
    .quad 0x00af9a000000ffff    // 0x08: 64-bit code
    .quad 0x00cf92000000ffff    // 0x10: data
boot_gdt_pointer:
    .short . - boot_gdt - 1
    .quad boot_gdt

.code32
.global boot_pvh32
boot_pvh32:
    xor ebp, ebp
    jmp 1f
.global boot_multiboot32
boot_multiboot32:
    mov ebp, 2
1:  cli
    cld
    mov esp, offset boot_stack_top
    mov edi, offset boot_pages
    mov eax, 0x83               // present, writable, 2 MiB
    mov ecx, 2048
2:  mov [edi], eax
    add eax, 0x200000
    add edi, 8
    dec ecx
    jnz 2b
    call boot_link_tables
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
    or eax, 0x80010001          // PG, WP, PE
    mov cr0, eax
    lgdt [boot_gdt_pointer]
    push 0x08
    mov eax, offset boot_pvh64
    push eax
    retf

// Links the upper tables. The same bytes mean the same in 32-bit and 64-bit mode for the addresses
// used here only in 32-bit mode; the 64-bit entry has its own copy below.
boot_link_tables:
    mov eax, offset boot_low + 3
    mov [boot_pml4], eax
    mov [boot_pml4 + 8 * DIRECT_SLOT], eax
    mov eax, offset boot_kernel + 3
    mov [boot_pml4 + 8 * KERNEL_SLOT], eax
    mov eax, offset boot_pages + 3
    mov [boot_kernel + 8 * 510], eax
    mov [boot_low], eax
    add eax, 4096
    mov [boot_low + 8], eax
    add eax, 4096
    mov [boot_low + 16], eax
    add eax, 4096
    mov [boot_low + 24], eax
    ret

.code64
boot_pvh64:
    mov esi, ebx
    mov edi, ebp
    jmp boot_common

.global boot_linux64
boot_linux64:
    cli
    cld
    mov esp, offset boot_stack_top
    mov edi, offset boot_pages
    mov eax, 0x83
    mov ecx, 2048
2:  mov [rdi], rax
    add rax, 0x200000
    add rdi, 8
    dec ecx
    jnz 2b
    mov eax, offset boot_low + 3
    mov [boot_pml4], rax
    mov [boot_pml4 + 8 * DIRECT_SLOT], rax
    mov eax, offset boot_kernel + 3
    mov [boot_pml4 + 8 * KERNEL_SLOT], rax
    mov eax, offset boot_pages + 3
    mov [boot_kernel + 8 * 510], rax
    mov [boot_low], rax
    add rax, 4096
    mov [boot_low + 8], rax
    add rax, 4096
    mov [boot_low + 16], rax
    add rax, 4096
    mov [boot_low + 24], rax
    mov eax, offset boot_pml4
    mov cr3, rax
    mov rax, cr0
    or rax, 0x10000             // WP
    mov cr0, rax
    lgdt [boot_gdt_pointer]
    push 0x08
    mov eax, offset boot_own_segments
    push rax
    retfq
boot_own_segments:
    mov edi, 1

// edi: which loader, rsi: its information.
boot_common:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov rsp, offset {stack} + {stack_bytes}
    xor ebp, ebp
    movabs rax, offset {start}
    call rax
    ud2
