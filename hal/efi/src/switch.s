// From firmware's 64-bit mode to the state in which multiboot2 enters a kernel: 32-bit protected
// mode without paging. Copied to a page below 4 GiB; without paging it can write the kernel over
// whatever firmware had mapped there, or protected.
//
//   edi  where the kernel belongs       edx  its length in words of 4 bytes
//   esi  where it lies now              ecx  its entry
//   r8d  multiboot2's information
//
// System V calling convention; does not return.

.global switch_start, switch_gdt, switch_gdt_pointer, switch_end
.align 8
switch_start:
    cli
    cld
    mov ebp, edx
    mov ebx, r8d
    lgdt [rip + switch_gdt_pointer]
    lea rax, [rip + switch_32]
    push 0x08
    push rax
    retfq

.code32
switch_32:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov fs, eax
    mov gs, eax
    mov ss, eax
    mov esp, ecx                // no stack from here on: the register keeps the entry
    mov eax, cr0
    and eax, 0x7fffffff         // PG
    mov cr0, eax
    mov ecx, 0xc0000080         // EFER
    rdmsr
    and eax, 0xfffffeff         // LME
    wrmsr
    xor eax, eax                // PAE, and five levels where firmware uses them
    mov cr4, eax
    mov ecx, ebp
    rep movsd
    mov eax, 0x36d76289         // multiboot2 was here
    jmp esp
.code64

.align 8
switch_gdt:
    .quad 0
    .quad 0x00cf9a000000ffff    // 0x08: 32-bit code
    .quad 0x00cf92000000ffff    // 0x10: data
switch_gdt_pointer:
    .short 23
    .quad 0                     // filled in: the address of the copy of switch_gdt
switch_end:
