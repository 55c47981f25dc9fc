/* Signals to a process: any thread that does not block one takes it, whatever the others do. A static program of C with
 * threads, since handlers of Go never wait. Exit status 0 only if everything held. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define FIRST SIGUSR1
#define SECOND SIGUSR2
#define THIRD SIGHUP
#define FOURTH SIGALRM

static int failures;
static atomic_int ready, first, second, waited, third, fourth;

static void check(const char *what, int held) {
    printf("%s %s\n", held ? "ok  " : "FAIL", what);
    failures += !held;
}

static void doze(void) { nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); }

static sigset_t set_of(int one, int another) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, one);
    sigaddset(&set, another);
    return set;
}

/* Blocks both signals, and waits for the handler of the second one, on another thread. */
static void on_first(int signal) {
    (void)signal;
    first = 1;
    for (int i = 0; i < 20000 && !second; i++)
        doze();
    waited = second;
}

static void on_second(int signal) {
    (void)signal;
    second = 1;
}

static void on_other(int signal) { *(signal == THIRD ? &third : &fourth) = 1; }

static void *taker(void *unused) {
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    ready++;
    for (;;)
        pause();
    return unused;
}

/* Takes one of two signals that it waits for. */
static void *waiter(void *unused) {
    sigset_t set = set_of(THIRD, FOURTH);
    ready++;
    on_other(sigwaitinfo(&set, NULL));
    for (;;)
        pause();
    return unused;
}

static void start(void *(*run)(void *)) {
    pthread_t thread;
    int before = ready;
    pthread_create(&thread, NULL, run, NULL);
    pthread_detach(thread);
    while (ready == before)
        doze();
    /* Until it sleeps, most likely. */
    for (int i = 0; i < 50; i++)
        doze();
}

int main(void) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    struct sigaction action = {.sa_handler = on_first, .sa_mask = set_of(FIRST, SECOND)};
    sigaction(FIRST, &action, NULL);
    action.sa_handler = on_second;
    sigaction(SECOND, &action, NULL);
    action.sa_handler = on_other;
    sigaction(THIRD, &action, NULL);
    sigaction(FOURTH, &action, NULL);

    start(waiter);
    start(taker);
    kill(getpid(), THIRD);
    kill(getpid(), FOURTH);
    for (int i = 0; i < 20000 && !(third && fourth); i++)
        doze();
    check("who waits for two signals leaves one of them to others", third && fourth);

    start(taker);
    for (int round = 0; round < 20; round++) {
        first = second = waited = 0;
        kill(getpid(), FIRST);
        kill(getpid(), SECOND);
        for (int i = 0; i < 30000 && !waited; i++)
            doze();
        if (!waited)
            break;
    }
    check("one thread handles the first signal", first);
    check("another takes the second meanwhile", waited);
    return failures != 0;
}
