/* The contract of a kernel with a program, without any runtime between: a static program of C and
 * assembly with no C library. It checks the state at process start, registers across system calls,
 * timer interrupts, page faults and other threads, what a cloned thread inherits, and signals on
 * the normal stack. Exit status 0 only if everything held. contract.S has the assembly. */
#include "contract.h"

static int failed, passed;

void *memset(void *to, int value, size_t n) {
    for (char *p = to; n--; p++)
        *p = (char)value;
    return to;
}

void *memcpy(void *to, const void *from, size_t n) {
    for (size_t i = 0; i < n; i++)
        ((char *)to)[i] = ((const char *)from)[i];
    return to;
}

static size_t length(const char *text) {
    size_t n = 0;
    while (text[n])
        n++;
    return n;
}

static void print(const char *text) { call3(SYS_write, 1, (long)text, (long)length(text)); }

static void print_number(u64 value) {
    char text[19] = "0x0000000000000000";
    for (int i = 17; value; value /= 16, i--)
        text[i] = "0123456789abcdef"[value % 16];
    print(text);
}

static void equal(const char *name, u64 got, u64 want) {
    print(got == want ? "ok   " : "FAIL ");
    print(name);
    if (got == want) {
        passed++;
    } else {
        failed++;
        print(": got ");
        print_number(got);
        print(", want ");
        print_number(want);
    }
    print("\n");
}

static void holds(const char *name, int held) { equal(name, held != 0, 1); }

/* ---- patterns ---------------------------------------------------------------------------- */

static u64 seed = 88172645463325252ull;

static u64 random_number(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static void fill(struct state *s) {
    u64 *words = (u64 *)s;
    for (unsigned i = 0; i < sizeof *s / 8; i++)
        words[i] = random_number();
    s->flags = 0x202 | (s->flags & 0xcd5); /* arithmetic and direction */
    memset(s->fx, 0, 160);
    s->fx[0] = 0x7f, s->fx[1] = 0x0e; /* x87: masked, another rounding */
    s->fx[4] = 0xff;
    *(u32 *)(s->fx + 24) = 0x1f80 | 0x6000 | 0x15; /* MXCSR: masked, another rounding, sticky bits */
    for (int i = 0; i < 8; i++) {
        *(u64 *)(s->fx + 32 + 16 * i) = random_number() | 1ull << 63;
        *(u16 *)(s->fx + 40 + 16 * i) = (u16)(0x3f00 + i);
    }
    for (int i = 0; i < 16; i++)
        memcpy(s->fx + 160 + 16 * i, s->vector[i], 16);
}

static int same(const void *a, const void *b, size_t n) {
    const char *p = a, *q = b;
    for (size_t i = 0; i < n; i++)
        if (p[i] != q[i])
            return 0;
    return 1;
}

/* 0 if nothing changed but the registers in skip (a bit each), else 1 + the register; 100: flags,
 * 101: x87, 102: MXCSR, 200 + n: vector register, 300: opmask. */
static u64 difference(const struct state *a, const struct state *b, u64 skip) {
    for (int i = 0; i < 16; i++)
        if (i != RSP && !(skip >> i & 1) && a->general[i] != b->general[i])
            return 1 + (u64)i;
    if (a->flags != b->flags)
        return 100;
    if (!same(a->fx, b->fx, 5))
        return 101;
    for (int i = 0; i < 8; i++)
        if (!same(a->fx + 32 + 16 * i, b->fx + 32 + 16 * i, 10))
            return 101;
    if (!same(a->fx + 24, b->fx + 24, 4))
        return 102;
    size_t width = vector_level == 2 ? 64 : vector_level == 1 ? 32 : 16;
    for (int i = 0; i < (vector_level == 2 ? 32 : 16); i++)
        if (!same(a->vector[i], b->vector[i], width))
            return 200 + (u64)i;
    if (vector_level == 2 && !same(a->mask, b->mask, 64))
        return 300;
    return 0;
}

#define BIT(r) (1ull << (r))
#define SPOILT_BY_CALL (BIT(RAX) | BIT(RCX) | BIT(R11))

static void find_vector_level(void) {
    u32 a, b, c, d;
    cpuid(1, 0, &a, &b, &c, &d);
    if ((c & 0x18000000) != 0x18000000)
        return;
    u32 enabled = xgetbv();
    if ((enabled & 6) != 6)
        return;
    vector_level = 1;
    cpuid(7, 0, &a, &b, &c, &d);
    if ((enabled & 0xe6) == 0xe6 && (b & 0x40010000) == 0x40010000)
        vector_level = 2;
}

static long map(size_t size, long protection) {
    return call6(SYS_mmap, 0, (long)size, protection, MAP_PRIVATE_ANONYMOUS, -1, 0);
}

/* ---- process start ----------------------------------------------------------------------- */

static u64 auxiliary(u64 key, u64 missing) {
    u64 *word = (u64 *)start_state.rsp;
    word += 1 + word[0] + 1;
    while (*word)
        word++;
    for (word++; word[0]; word += 2)
        if (word[0] == key)
            return word[1];
    return missing;
}

static void check_start(void) {
    equal("start: stack alignment", start_state.rsp % 16, 0);
    equal("start: rdx", start_state.rdx, 0);
    equal("start: direction flag", start_state.flags & 0x400, 0);
    equal("start: mxcsr", start_state.mxcsr, 0x1f80);
    equal("start: x87 control word", start_state.control, 0x37f);
    u64 *word = (u64 *)start_state.rsp;
    holds("start: argc and argv", word[0] >= 1 && word[1] != 0 && word[1 + word[0]] == 0);
    equal("auxv: AT_PAGESZ", auxiliary(6, 0), 4096);
    equal("auxv: AT_PHENT", auxiliary(4, 0), 56);
    holds("auxv: AT_PHNUM", auxiliary(5, 0) > 0);
    equal("auxv: AT_BASE", auxiliary(7, 1), 0);
    equal("auxv: AT_ENTRY", auxiliary(9, 0), (u64)_start);
    equal("auxv: AT_UID is AT_EUID", auxiliary(11, 1), auxiliary(12, 2));
    equal("auxv: AT_GID is AT_EGID", auxiliary(13, 1), auxiliary(14, 2));
    equal("auxv: AT_CLKTCK", auxiliary(17, 0), 100);
    equal("auxv: AT_SECURE", auxiliary(23, 1), 0);
    u32 *headers = (u32 *)auxiliary(3, 0);
    holds("auxv: AT_PHDR", headers != 0 && headers[0] <= 7);
    u64 *random = (u64 *)auxiliary(25, 0);
    holds("auxv: AT_RANDOM", random != 0 && random[0] != 0 && random[1] != 0 && random[0] != random[1]);
    const char *name = (const char *)auxiliary(31, 0);
    holds("auxv: AT_EXECFN", name != 0 && name[0] != 0);
    u32 a, b, c, d;
    cpuid(1, 0, &a, &b, &c, &d);
    equal("auxv: AT_HWCAP is CPUID's", auxiliary(16, 0), d);
    u32 *vdso = (u32 *)auxiliary(33, 0);
    holds("auxv: AT_SYSINFO_EHDR leads to an ELF header", vdso != 0 && *vdso == 0x464c457f);
}

/* ---- crossings --------------------------------------------------------------------------- */

static struct state before, after;

static void cross_with(const char *name, long number, const long *args, long want, int anything) {
    static const int order[6] = {RDI, RSI, RDX, R10, R8, R9};
    fill(&before);
    before.general[RAX] = (u64)number;
    for (int i = 0; i < 6; i++)
        if (args[i] != UNUSED)
            before.general[order[i]] = (u64)args[i];
    cross_call(&before, &after);
    if (!anything)
        equal(name, after.general[RAX], (u64)want);
    equal(name, difference(&before, &after, SPOILT_BY_CALL), 0);
}

static void check_calls(void) {
    static struct timespec pause = {0, 2000000};
    static u32 word = 5;
    static char buffer[4096];
    static int ends[2];
    equal("call: pipe2", (u64)call3(SYS_pipe2, (long)ends, 0, 0), 0);
    if (failed)
        return;
    const struct {
        const char *name;
        long number, args[6], want;
        int anything;
    } calls[] = {
        {"call: getppid", SYS_getppid, {UNUSED, UNUSED, UNUSED, UNUSED, UNUSED, UNUSED}, 0, 1},
        {"call: sched_yield", SYS_sched_yield, {UNUSED, UNUSED, UNUSED, UNUSED, UNUSED, UNUSED}, 0, 0},
        {"call: nanosleep", SYS_nanosleep, {(long)&pause, 0, UNUSED, UNUSED, UNUSED, UNUSED}, 0, 0},
        {"call: futex times out", SYS_futex, {(long)&word, 128, 5, (long)&pause, UNUSED, UNUSED}, -110, 0},
        {"call: futex differs", SYS_futex, {(long)&word, 128, 6, 0, UNUSED, UNUSED}, -11, 0},
        {"call: write", SYS_write, {ends[1], (long)buffer, 100, UNUSED, UNUSED, UNUSED}, 100, 0},
        {"call: read", SYS_read, {ends[0], (long)buffer, 4096, UNUSED, UNUSED, UNUSED}, 100, 0},
        {"call: mmap", SYS_mmap, {0, 4096, 3, MAP_PRIVATE_ANONYMOUS, -1, 0}, 0, 1},
        {"call: bad file", SYS_read, {999, (long)buffer, 1, UNUSED, UNUSED, UNUSED}, -9, 0},
        {"call: bad memory", SYS_write, {ends[1], 1l << 45, 1, UNUSED, UNUSED, UNUSED}, -14, 0},
        {"call: unknown", 999, {1, 2, 3, 4, 5, 6}, -38, 0},
    };
    for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++)
        cross_with(calls[i].name, calls[i].number, calls[i].args, calls[i].want, calls[i].anything);
}

static void check_spin(void) {
    u64 wrong = 0;
    for (int round = 0; round < 10 && !wrong; round++) {
        fill(&before);
        before.general[RCX] = 20000000;
        cross_spin(&before, &after);
        wrong = difference(&before, &after, BIT(RCX));
    }
    equal("timer interrupts", wrong, 0);
}

static void check_touch(void) {
    long memory = map(512 * 4096, 3);
    fill(&before);
    before.general[RDI] = (u64)memory;
    before.general[RCX] = 512;
    cross_touch(&before, &after);
    equal("page faults", difference(&before, &after, BIT(RCX) | BIT(RDI)), 0);
    equal("page faults: all pages", after.general[RDI], (u64)memory + 512 * 4096);
}

/* ---- threads ----------------------------------------------------------------------------- */

static struct state child_after;
static volatile u32 child_id, gate;

static void wait_for_child(void) {
    u32 id;
    while ((id = child_id) != 0)
        call6(SYS_futex, (long)&child_id, 0, id, 0, 0, 0);
}

/* Runs in the child on a stack of its own, after clone_into has written down what it got. */
void in_child(void) {
    u64 fs = 0;
    call3(SYS_arch_prctl, ARCH_GET_FS, (long)&fs, 0);
    child_after.result = fs;
}

static void check_clone(void) {
    long stack = map(65536, 3), tls = map(4096, 3);
    *(u64 *)tls = 0x1234567;
    fill(&before);
    child_id = 1;
    before.general[RAX] = SYS_clone;
    /* VM FS FILES SIGHAND THREAD SYSVSEM SETTLS PARENT_SETTID CHILD_CLEARTID */
    before.general[RDI] = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000 | 0x80000 | 0x100000 | 0x200000;
    before.general[RSI] = (u64)stack + 65536 - 64;
    before.general[RDX] = (u64)&child_id;
    before.general[R10] = (u64)&child_id;
    before.general[R8] = (u64)tls;
    cross_clone(&before, &after, &child_after);
    holds("clone: id in the parent", (long)after.general[RAX] > 0);
    equal("clone: registers of the parent", difference(&before, &after, SPOILT_BY_CALL), 0);
    wait_for_child();
    equal("clone: result in the child", child_after.general[RAX], 0);
    equal("clone: registers of the child", difference(&before, &child_after, SPOILT_BY_CALL), 0);
    equal("clone: stack of the child", child_after.general[RSP], (u64)stack + 65536 - 64);
    equal("clone: FS base of the child", child_after.result, (u64)tls);
}

#define THREADS 4
static struct {
    struct state before, after;
    u64 wrong, fs, gs;
    volatile u32 id;
} workers[THREADS];

/* Each thread has FS and GS bases of its own and crosses with patterns until all have had turns. */
static void work(long number) {
    u64 fs = 0, gs = 0, want_fs = (u64)&workers[number].fs, want_gs = (u64)&workers[number].gs;
    call3(SYS_arch_prctl, ARCH_SET_FS, (long)want_fs, 0);
    call3(SYS_arch_prctl, ARCH_SET_GS, (long)want_gs, 0);
    workers[number].fs = 1000 + (u64)number;
    workers[number].gs = 2000 + (u64)number;
    for (int round = 0; round < 20 && !workers[number].wrong; round++) {
        struct state *in = &workers[number].before, *out = &workers[number].after;
        memcpy(in, &before, sizeof *in);
        for (int i = 0; i < 16; i++)
            in->general[i] = before.general[i] * (u64)(2 * number + 3), in->vector[i][3] = (u8)number;
        for (int i = 0; i < 16; i++)
            memcpy(in->fx + 160 + 16 * i, in->vector[i], 16);
        in->general[RCX] = 3000000;
        cross_spin(in, out);
        workers[number].wrong = difference(in, out, BIT(RCX));
        in->general[RAX] = SYS_sched_yield;
        cross_call(in, out);
        if (!workers[number].wrong)
            workers[number].wrong = difference(in, out, SPOILT_BY_CALL);
        if (word_at_fs() != 1000 + (u64)number || word_at_gs() != 2000 + (u64)number)
            workers[number].wrong = 400;
    }
    call3(SYS_arch_prctl, ARCH_GET_FS, (long)&fs, 0);
    call3(SYS_arch_prctl, ARCH_GET_GS, (long)&gs, 0);
    if (fs != want_fs || gs != want_gs)
        workers[number].wrong = 401;
}

static void check_threads(void) {
    fill(&before);
    for (long i = 0; i < THREADS; i++) {
        long stack = map(65536, 3);
        workers[i].id = 1;
        spawn(0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000 | 0x100000 | 0x200000, stack + 65536 - 64,
              (void *)&workers[i].id, work, i);
    }
    for (int i = 0; i < THREADS; i++) {
        u32 id;
        while ((id = workers[i].id) != 0)
            call6(SYS_futex, (long)&workers[i].id, 0, id, 0, 0, 0);
        equal("threads: registers, FS and GS", workers[i].wrong, 0);
    }
}

/* ---- signals on the normal stack --------------------------------------------------------- */

static u64 handled, depth, deepest, handler_rsp, seen_signal, seen_code, new_stack;
static int rewrite_context, raise_again;

void handler_in_c(int signal, u32 *info, u64 *context, u64 rsp) {
    handled++;
    depth++;
    if (depth > deepest)
        deepest = depth;
    handler_rsp = rsp;
    seen_signal = (u64)signal;
    seen_code = info[2];
    if (raise_again) {
        raise_again--;
        call3(SYS_tgkill, call3(SYS_getpid, 0, 0, 0), call3(SYS_gettid, 0, 0, 0), SIGUSR1);
    }
    if (rewrite_context) {
        for (int i = 0; i < 16; i++)
            context[5 + context_order[i]] = after.general[i];
        context[5 + context_order[RSP]] = new_stack;
        context[5 + 16] = (u64)landing;
        context[5 + 17] = after.flags;
        memcpy((void *)context[28], after.fx, 416);
        if (vector_level > 0) { /* upper halves of YMM; which parts are in use */
            u8 *area = (u8 *)context[28];
            *(u64 *)(area + 512) |= 7;
            for (int i = 0; i < 16; i++)
                memcpy(area + 576 + 16 * i, after.vector[i] + 16, 16);
        }
        if (vector_level > 1) { /* opmasks, upper halves of ZMM, ZMM 16 to 31: where CPUID says */
            u8 *area = (u8 *)context[28];
            u32 size, at, c, d;
            *(u64 *)(area + 512) |= 0xe0;
            cpuid(13, 5, &size, &at, &c, &d);
            memcpy(area + at, after.mask, 64);
            cpuid(13, 6, &size, &at, &c, &d);
            for (int i = 0; i < 16; i++)
                memcpy(area + at + 32 * i, after.vector[i] + 32, 32);
            cpuid(13, 7, &size, &at, &c, &d);
            for (int i = 0; i < 16; i++)
                memcpy(area + at + 64 * i, after.vector[16 + i], 64);
        }
    }
    depth--;
}

static void install(int signal, u64 flags) {
    struct {
        void (*handler)(void);
        u64 flags;
        void (*restorer)(void);
        u64 mask;
    } action = {handler_entry, flags | SA_SIGINFO | SA_RESTORER, restorer, 0};
    call6(SYS_rt_sigaction, signal, (long)&action, 0, 8, 0, 0);
}

static void send_itself(const char *name) {
    long args[6] = {call3(SYS_getpid, 0, 0, 0), call3(SYS_gettid, 0, 0, 0), SIGUSR1, UNUSED, UNUSED, UNUSED};
    cross_with(name, SYS_tgkill, args, 0, 0);
}

static void check_signals(void) {
    install(SIGUSR1, 0);
    send_itself("signal: on the normal stack");
    equal("signal: handled", handled, 1);
    equal("signal: number", seen_signal, SIGUSR1);
    equal("signal: si_code", seen_code, (u32)-6);
    equal("signal: stack alignment", handler_rsp % 16, 8);
    equal("signal: red zone", red_zone_survives(call3(SYS_getpid, 0, 0, 0), call3(SYS_gettid, 0, 0, 0)), 1);

    raise_again = 3;
    send_itself("signal: itself blocked while handled");
    equal("signal: all handled", handled, 6);
    equal("signal: one after the other", deepest, 1);
    install(SIGUSR1, SA_NODEFER);
    raise_again = 3;
    send_itself("signal: nested");
    equal("signal: all nested ones handled", handled, 10);
    equal("signal: nested", deepest, 4);

    u64 block = 1 << (SIGUSR1 - 1), none = 0, pending = 0;
    call6(SYS_rt_sigprocmask, 2, (long)&block, 0, 8, 0, 0);
    send_itself("signal: blocked");
    equal("signal: not handled while blocked", handled, 10);
    call3(SYS_rt_sigpending, (long)&pending, 8, 0);
    equal("signal: pending", pending, block);
    call6(SYS_rt_sigprocmask, 2, (long)&none, 0, 8, 0, 0);
    equal("signal: handled when unblocked", handled, 11);

    install(SIGUSR1, 0);
    fill(&after);
    rewrite_context = 1;
    new_stack = (u64)map(65536, 3) + 32768 + 8;
    struct state got;
    cross_rewrite(call3(SYS_getpid, 0, 0, 0), call3(SYS_gettid, 0, 0, 0), &got);
    equal("signal: rewritten context: registers", difference(&after, &got, 0), 0);
    equal("signal: rewritten context: stack", got.general[RSP], new_stack);
}

/* FSGSBASE, if the kernel says that programs may use it (AT_HWCAP2). */
static void check_base_instructions(void) {
    if (!(auxiliary(26, 0) & 2)) {
        print("ok   base instructions: not offered\n");
        return;
    }
    static u64 word = 77;
    u64 fs = 1;
    equal("base instructions: written and kept", write_fs_and_yield(&word), 77);
    call3(SYS_arch_prctl, ARCH_GET_FS, (long)&fs, 0);
    equal("base instructions: seen by arch_prctl", fs, (u64)&word);
}

void contract_main(void) {
    find_vector_level();
    check_start();
    check_calls();
    check_spin();
    check_touch();
    check_base_instructions();
    check_clone();
    check_threads();
    check_signals();
    print(failed ? "FAILED\n" : "passed\n");
    call3(SYS_exit_group, failed || !passed, 0, 0);
}
