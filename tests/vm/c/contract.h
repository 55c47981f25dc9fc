/* What contract.c and contract.S share. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef unsigned long size_t;

struct timespec {
    long seconds, nanoseconds;
};

/* A register file; contract.S knows the offsets. */
struct state {
    u64 general[16]; /* 0 */
    u64 flags;       /* 128 */
    u64 result;      /* 136 */
    u64 pad[2];
    u64 mask[8]; /* 160 */
    u64 pad2[4];
    u8 fx[512];        /* 256: FXSAVE image */
    u8 vector[32][64]; /* 768 */
} __attribute__((aligned(64)));

enum { RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP, R8, R9, R10, R11, R12, R13, R14, R15 };

/* Where ucontext keeps each, in words after the first five. */
static const int context_order[16] = {13, 11, 14, 12, 9, 8, 10, 15, 0, 1, 2, 3, 4, 5, 6, 7};

enum {
    SYS_read = 0, SYS_write = 1, SYS_mmap = 9, SYS_rt_sigaction = 13, SYS_rt_sigprocmask = 14,
    SYS_sched_yield = 24, SYS_nanosleep = 35, SYS_getpid = 39, SYS_clone = 56, SYS_getppid = 110,
    SYS_rt_sigpending = 127, SYS_arch_prctl = 158, SYS_gettid = 186, SYS_futex = 202, SYS_exit_group = 231,
    SYS_tgkill = 234, SYS_pipe2 = 293,
    ARCH_SET_GS = 0x1001, ARCH_SET_FS = 0x1002, ARCH_GET_FS = 0x1003, ARCH_GET_GS = 0x1004,
    MAP_PRIVATE_ANONYMOUS = 0x22, SIGUSR1 = 10,
    SA_SIGINFO = 4, SA_NODEFER = 0x40000000, SA_RESTORER = 0x04000000,
};
#define UNUSED (-777777l)

/* The state that the kernel started the process with, written down by _start. */
extern struct {
    u64 rsp, rdx, flags;
    u32 mxcsr;
    u16 control;
} start_state;
extern u64 vector_level; /* 0: XMM, 1: YMM, 2: ZMM and opmasks */

void _start(void);
void cross_call(const struct state *before, struct state *after);
void cross_spin(const struct state *before, struct state *after);
void cross_touch(const struct state *before, struct state *after);
void cross_clone(const struct state *before, struct state *after, struct state *child);
void cross_rewrite(long process, long thread, struct state *got);
long red_zone_survives(long process, long thread);
u64 write_fs_and_yield(u64 *word);
void spawn(long flags, long stack, volatile void *id, void (*body)(long), long argument);
void handler_entry(void);
void restorer(void);
void landing(void);

static inline long call6(long n, long a, long b, long c, long d, long e, long f) {
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static inline long call3(long n, long a, long b, long c) { return call6(n, a, b, c, 0, 0, 0); }

static inline void cpuid(u32 leaf, u32 part, u32 *a, u32 *b, u32 *c, u32 *d) {
    __asm__ volatile("cpuid" : "=a"(*a), "=b"(*b), "=c"(*c), "=d"(*d) : "a"(leaf), "c"(part));
}

static inline u32 xgetbv(void) {
    u32 a, d;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return a;
}

static inline u64 word_at_fs(void) {
    u64 value;
    __asm__ volatile("movq %%fs:0, %0" : "=r"(value));
    return value;
}

static inline u64 word_at_gs(void) {
    u64 value;
    __asm__ volatile("movq %%gs:0, %0" : "=r"(value));
    return value;
}
