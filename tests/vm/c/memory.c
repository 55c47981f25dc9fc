/* Memory calls, errors included: mmap, munmap, mprotect, madvise, mremap, brk, mincore, msync, mlock,
 * and what faults tell. Every expectation holds on Linux. Exit status 0 only if all held. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096L
#define HOLE 0x10000000000L
#define KERNEL (-0x800000000000L)
#define READ_WRITE (PROT_READ | PROT_WRITE)
#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)

static int failures;

static void check(const char *what, int held) {
    if (!held) {
        printf("FAIL %s\n", what);
        failures++;
    }
}

/* The call must end with this errno (0: succeed). */
static void gives(const char *what, int expected, long result) {
    int got = result == -1 ? errno : 0;
    if (got != expected) {
        printf("FAIL %s: errno %d, not %d\n", what, got, expected);
        failures++;
    }
}

#define CALL(expected, name, ...) gives(#name "(" #__VA_ARGS__ ")", expected, syscall(SYS_##name, __VA_ARGS__))

static sigjmp_buf back;
static volatile int code;
static char *volatile fault_address;

static void on_fault(int signal, siginfo_t *info, void *context) {
    (void)context;
    code = info->si_code;
    fault_address = info->si_addr;
    siglongjmp(back, signal);
}

/* The signal that `access` raises, or 0. */
#define SIGNAL_OF(access) ({ int s_ = sigsetjmp(back, 1); if (s_ == 0) { access; } s_; })

static char *map(long pages, int protection) {
    char *at = mmap(NULL, pages * PAGE, protection, ANONYMOUS, -1, 0);
    check("mmap", at != MAP_FAILED);
    return at;
}

static void mapping(char *taken) {
    CALL(EINVAL, mmap, 0, 0, PROT_READ, ANONYMOUS, -1, 0);
    CALL(EINVAL, mmap, 0, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0);
    CALL(EINVAL, mmap, 0, PAGE, PROT_READ, MAP_ANONYMOUS | 3, -1, 0);
    CALL(EINVAL, mmap, 0, PAGE, PROT_READ, ANONYMOUS, -1, 1);
    CALL(ENOMEM, mmap, 0, 1L << 62, PROT_READ, ANONYMOUS, -1, 0);
    CALL(ENOMEM, mmap, 0, -1L, PROT_READ, ANONYMOUS, -1, 0);
    CALL(EINVAL, mmap, taken + 1, PAGE, PROT_READ, ANONYMOUS | MAP_FIXED, -1, 0);
    CALL(ENOMEM, mmap, KERNEL, PAGE, PROT_READ, ANONYMOUS | MAP_FIXED, -1, 0);
    CALL(EEXIST, mmap, taken, PAGE, PROT_READ, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    CALL(0, mmap, KERNEL, PAGE, PROT_READ, ANONYMOUS, -1, 0);
    CALL(0, mmap, taken + 17, PAGE, PROT_READ, ANONYMOUS, -1, 0);
    CALL(0, mmap, 0, PAGE, 0xff0, ANONYMOUS, -1, 0);
    CALL(0, mmap, 0, 1L << 40, PROT_NONE, ANONYMOUS, -1, 0);
    long low = syscall(SYS_mmap, 0, PAGE, READ_WRITE, ANONYMOUS | MAP_32BIT, -1, 0);
    check("MAP_32BIT is below 2 GiB", low > 0 && low < 1L << 31);
    char *hint = (char *)0x3f7fb0000000;
    check("a free hint is honoured", mmap(hint, PAGE, READ_WRITE, ANONYMOUS, -1, 0) == hint);
    CALL(EINVAL, munmap, taken + 1, PAGE);
    CALL(EINVAL, munmap, taken, 0);
    CALL(EINVAL, munmap, KERNEL, PAGE);
    CALL(0, munmap, HOLE, PAGE);
}

static void files(void) {
    const char *path = "/tmp/memory-test";
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    char bytes[2 * PAGE + 100];
    memset(bytes, 'a', sizeof bytes);
    check("write a file", write(file, bytes, sizeof bytes) == (long)sizeof bytes);
    int reader = open(path, O_RDONLY), writer = open(path, O_WRONLY);
    int directory = open("/tmp", O_RDONLY | O_DIRECTORY), name_only = open(path, O_PATH);
    int pipes[2], zero = open("/dev/zero", O_RDWR), null = open("/dev/null", O_RDWR);
    check("pipe", pipe(pipes) == 0);
    CALL(EBADF, mmap, 0, 0, PROT_READ, MAP_PRIVATE, 99, 0);
    CALL(EBADF, mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, name_only, 0);
    CALL(ENODEV, mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, directory, 0);
    CALL(ENODEV, mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, pipes[0], 0);
    CALL(ENODEV, mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, null, 0);
    CALL(EACCES, mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, writer, 0);
    CALL(EACCES, mmap, 0, PAGE, READ_WRITE, MAP_SHARED, reader, 0);
    CALL(0, mmap, 0, PAGE, READ_WRITE, MAP_PRIVATE, reader, 0);
    CALL(EOVERFLOW, mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, reader, 0x7ffffffffffff000);
    CALL(EINVAL, mmap, 0, PAGE, PROT_READ, MAP_PRIVATE | MAP_GROWSDOWN, file, 0);
    CALL(0, mmap, 0, PAGE, READ_WRITE, MAP_SHARED, zero, 0);

    char *shared = mmap(NULL, 4 * PAGE, READ_WRITE, MAP_SHARED, file, 0);
    char *private = mmap(NULL, 4 * PAGE, READ_WRITE, MAP_PRIVATE, file, 0);
    char got;
    check("content", shared[0] == 'a' && shared[2 * PAGE + 99] == 'a' && shared[2 * PAGE + 100] == 0);
    check("beyond the end: SIGBUS", SIGNAL_OF(got = *(volatile char *)(shared + 3 * PAGE)) == SIGBUS);
    check("beyond the end: BUS_ADRERR", code == BUS_ADRERR && fault_address == shared + 3 * PAGE);
    shared[5] = 'Z';
    check("a shared write is in the file", pread(file, &got, 1, 5) == 1 && got == 'Z');
    private[6] = 'Q';
    check("a private write is not", pread(file, &got, 1, 6) == 1 && got == 'a' && shared[6] == 'a');
    check("write to the file", pwrite(file, "W", 1, 7) == 1 && shared[7] == 'W');
    check("drop", madvise(private, PAGE, MADV_DONTNEED) == 0 && private[6] == 'a' && shared[5] == 'Z');
    check("truncate", ftruncate(file, PAGE) == 0);
    check("cut off: SIGBUS", SIGNAL_OF(got = *(volatile char *)(shared + PAGE)) == SIGBUS);
    check("grow", ftruncate(file, 3 * PAGE) == 0 && shared[PAGE] == 0);
    check("read into its own mapping", pread(file, shared + PAGE, PAGE, 0) == PAGE && shared[PAGE + 5] == 'Z');
    CALL(0, msync, shared, PAGE, MS_SYNC);
    char *read_only = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, reader, 0);
    CALL(EACCES, mprotect, read_only, PAGE, READ_WRITE);
    CALL(EINVAL, madvise, shared, PAGE, MADV_FREE);
    unlink(path);
    check("the mapping keeps the file", shared[5] == 'Z');
}

static void protection(char *at) {
    CALL(EINVAL, mprotect, at + 1, PAGE, PROT_READ);
    CALL(0, mprotect, at, 0, PROT_READ);
    CALL(ENOMEM, mprotect, HOLE, PAGE, PROT_READ);
    CALL(EINVAL, mprotect, at, PAGE, 0x10);
    CALL(EINVAL, mprotect, at, PAGE, 0x3000001);
    CALL(ENOMEM, mprotect, at, -PAGE, PROT_READ);
    at[0] = 1;
    volatile char *byte = at;
    check("PROT_NONE", mprotect(at, PAGE, PROT_NONE) == 0 && SIGNAL_OF((void)*byte) == SIGSEGV);
    check("SEGV_ACCERR", code == SEGV_ACCERR && fault_address == at);
    check("PROT_READ", mprotect(at, PAGE, PROT_READ) == 0 && *byte == 1);
    check("a write is refused", SIGNAL_OF(byte[7] = 2) == SIGSEGV && fault_address == at + 7);
    check("content is kept", mprotect(at, PAGE, READ_WRITE) == 0 && *byte == 1);
    check("data is no code", SIGNAL_OF(((void (*)(void))at)()) == SIGSEGV && code == SEGV_ACCERR);
    char *volatile nowhere = (char *)8;
    check("null", SIGNAL_OF(*(volatile char *)nowhere = 1) == SIGSEGV);
    check("SEGV_MAPERR", code == SEGV_MAPERR && fault_address == nowhere);
}

static void advice(char *at) {
    CALL(EINVAL, madvise, at, PAGE, -1);
    CALL(EINVAL, madvise, at, PAGE, 99);
    CALL(EINVAL, madvise, at + 1, PAGE, MADV_DONTNEED);
    CALL(ENOMEM, madvise, HOLE, PAGE, MADV_DONTNEED);
    CALL(0, madvise, at, 0, MADV_DONTNEED);
    CALL(EINVAL, madvise, at, -PAGE, MADV_DONTNEED);
    CALL(EINVAL, madvise, at, PAGE, MADV_REMOVE);
    for (int number = MADV_NORMAL; number <= MADV_DONTNEED; number++)
        CALL(0, madvise, at, PAGE, number);
    at[0] = at[PAGE] = at[2 * PAGE] = 9;
    check("dropped pages are zero", madvise(at + PAGE, PAGE, MADV_DONTNEED) == 0 && at[PAGE] == 0);
    check("their neighbours are not", at[0] == 9 && at[2 * PAGE] == 9);
    CALL(0, mlock, at, PAGE);
    CALL(EINVAL, madvise, at, PAGE, MADV_DONTNEED);
    CALL(EBUSY, msync, at, PAGE, MS_INVALIDATE);
    CALL(0, munlock, at, PAGE);
    CALL(EINVAL, msync, at, PAGE, MS_SYNC | MS_ASYNC);
    CALL(EINVAL, msync, at, PAGE, 8);
    CALL(EINVAL, msync, at + 1, PAGE, MS_SYNC);
    CALL(ENOMEM, msync, HOLE, PAGE, MS_SYNC);
    CALL(ENOMEM, mlock, HOLE, PAGE);
    CALL(ENOMEM, mlock, map(1, PROT_NONE), PAGE);
    CALL(EINVAL, mlockall, 0);
    CALL(EINVAL, mlockall, 8);
    CALL(0, munlockall, 0);
    unsigned char present[3];
    char *fresh = map(3, READ_WRITE);
    CALL(0, madvise, fresh, 3 * PAGE, MADV_NOHUGEPAGE);
    fresh[PAGE] = 1;
    check("mincore", mincore(fresh, 3 * PAGE, present) == 0 && present[1] == 1 && present[2] == 0);
    CALL(EINVAL, mincore, at + 1, PAGE, present);
    CALL(ENOMEM, mincore, HOLE, PAGE, present);
    CALL(EFAULT, mincore, at, PAGE, 8);
}

static void moving(void) {
    char *at = mmap((void *)0x200000000000, 4 * PAGE, READ_WRITE, ANONYMOUS | MAP_FIXED, -1, 0);
    at[PAGE] = 9;
    CALL(0, mremap, at, 4 * PAGE, 8 * PAGE, 0);
    CALL(0, mremap, at, 8 * PAGE, 2 * PAGE, 0);
    mmap(at + 2 * PAGE, PAGE, READ_WRITE, ANONYMOUS | MAP_FIXED, -1, 0);
    CALL(ENOMEM, mremap, at, 2 * PAGE, 4 * PAGE, 0);
    char *moved = mremap(at, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE);
    check("mremap moves the content", moved != at && moved[PAGE] == 9 && moved[3 * PAGE] == 0);
    check("and unmaps the old place", SIGNAL_OF((void)*(volatile char *)at) == SIGSEGV);
    CALL(EINVAL, mremap, moved, PAGE, PAGE, 8);
    CALL(EINVAL, mremap, moved, PAGE, PAGE, MREMAP_FIXED, moved);
    CALL(EINVAL, mremap, moved + 1, PAGE, PAGE, MREMAP_MAYMOVE);
    CALL(EINVAL, mremap, moved, PAGE, 0, MREMAP_MAYMOVE);
    CALL(EINVAL, mremap, moved, 0, PAGE, MREMAP_MAYMOVE);
    CALL(EFAULT, mremap, HOLE, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
    CALL(EFAULT, mremap, moved, 64 * PAGE, 65 * PAGE, MREMAP_MAYMOVE);
    CALL(EINVAL, mremap, moved, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, moved + PAGE);
    CALL(EINVAL, mremap, moved, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, KERNEL);
    char *target = (char *)0x210000000000;
    char *there = mremap(moved, 2 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target);
    check("mremap to a fixed place", there == target && there[PAGE] == 9);
    char *shared = mmap(NULL, 2 * PAGE, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char *twin = mremap(shared, 0, 2 * PAGE, MREMAP_MAYMOVE);
    shared[0] = 7;
    check("a shared mapping seen twice", twin != MAP_FAILED && twin[0] == 7);
    check("shared memory is not dropped", madvise(shared, PAGE, MADV_DONTNEED) == 0 && shared[0] == 7);
}

static void clocks(void) {
    const clockid_t ids[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE,
                             CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME, CLOCK_TAI};
    for (unsigned at = 0; at < sizeof ids / sizeof *ids; at++) {
        struct timespec library, kernel;
        clock_gettime(ids[at], &library);
        syscall(SYS_clock_gettime, ids[at], &kernel);
        long apart = (kernel.tv_sec - library.tv_sec) * 1000000000 + kernel.tv_nsec - library.tv_nsec;
        check("the vDSO's clock is the kernel's", apart > -20000000 && apart < 500000000);
    }
    struct timespec last, now;
    clock_gettime(CLOCK_MONOTONIC, &last);
    for (int turn = 0; turn < 100000; turn++, last = now) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec < last.tv_sec || (now.tv_sec == last.tv_sec && now.tv_nsec < last.tv_nsec)) {
            check("the clock never goes back", 0);
            break;
        }
    }
}

int main(void) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    char *at = map(8, READ_WRITE);
    mapping(at);
    files();
    protection(at);
    advice(at);
    moving();
    clocks();
    char *end = sbrk(0);
    check("brk grows", sbrk(10000) == end && (end[9999] = 1) == 1);
    check("brk shrinks", brk(end) == 0 && sbrk(0) == end);
    if (failures == 0)
        printf("all held\n");
    return failures != 0;
}
