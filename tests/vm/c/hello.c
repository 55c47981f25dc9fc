/* A static C program with threads, memory, files and time: what a C library does at start and under
 * load. Exit status 0 only if everything held. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static __thread int local = 7;
static long counter;
static int ready;

static void check(const char *what, int held) {
    printf("%s %s\n", held ? "ok  " : "FAIL", what);
    if (!held)
        exit(1);
}

static void *work(void *argument) {
    local += (int)(long)argument;
    for (int i = 0; i < 10000; i++) {
        pthread_mutex_lock(&mutex);
        counter++;
        pthread_mutex_unlock(&mutex);
    }
    pthread_mutex_lock(&mutex);
    ready++;
    pthread_cond_signal(&condition);
    pthread_mutex_unlock(&mutex);
    return (void *)(long)local;
}

int main(int argc, char **argv, char **envp) {
    check("arguments", argc >= 1 && argv[0] != NULL && argv[argc] == NULL && envp != NULL);
    pthread_t threads[4];
    for (long i = 0; i < 4; i++)
        check("start a thread", pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    pthread_mutex_lock(&mutex);
    while (ready < 4)
        pthread_cond_wait(&condition, &mutex);
    pthread_mutex_unlock(&mutex);
    for (long i = 0; i < 4; i++) {
        void *result;
        check("join a thread", pthread_join(threads[i], &result) == 0 && (long)result == 7 + i);
    }
    check("counter under a lock", counter == 40000);
    check("thread-local variable", local == 7);

    char *block = malloc(50 << 20);
    check("malloc", block != NULL);
    memset(block, 0x5a, 50 << 20);
    check("memory", block[0] == 0x5a && block[(50 << 20) - 1] == 0x5a);
    block = realloc(block, 60 << 20);
    check("realloc", block != NULL && block[(50 << 20) - 1] == 0x5a);
    free(block);

    FILE *file = fopen("/tmp/c-hello", "w+");
    check("open", file != NULL);
    check("write", fprintf(file, "%d %.3f\n", 42, 2.5) > 0);
    rewind(file);
    int number = 0;
    double fraction = 0;
    check("read", fscanf(file, "%d %lf", &number, &fraction) == 2 && number == 42 && fraction == 2.5);
    fclose(file);
    check("unlink", unlink("/tmp/c-hello") == 0);

    struct timespec before, after, pause = {0, 20 * 1000 * 1000};
    clock_gettime(CLOCK_MONOTONIC, &before);
    nanosleep(&pause, NULL);
    clock_gettime(CLOCK_MONOTONIC, &after);
    long took = (after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec;
    check("nanosleep", took >= 20 * 1000 * 1000);
    check("wall clock", time(NULL) > 1700000000);
    return 0;
}
