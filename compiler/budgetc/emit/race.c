/* Kernels against each other, in turns, so that they share what disturbs them.
 *
 * It is linked to the kernels and a table of them, and answers to one command by one line on stdout:
 *
 *   race FILE SECONDS ROUND_NS RACE_NS LEAST MOST NUMBERS...
 *       time the kernels of these numbers, in memory that begins with the contents of FILE, which stays as it is. A
 *       kernel is called as often in each round as fits ROUND_NS, and there are as many rounds as fit RACE_NS, within
 *       the two bounds. It is killed after so many seconds. "ok ROUNDS NS...": the nanoseconds of a call in each
 *       round, first those of the first kernel.
 *
 * It runs on one processor: of those that compute fastest the one that idles most.
 */
#define _GNU_SOURCE
#include "race.h"
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WATCH_US 50000
#define DEFAULT_CAPACITY 1024

static void fail(const char *what) {
    printf("error %s\n", what);
    fflush(stdout);
    exit(2);
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* How fast a processor computes beside the others, where they differ. */
static long capacity(int processor) {
    char path[80];
    long known = DEFAULT_CAPACITY;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cpu_capacity", processor);
    FILE *file = fopen(path, "r");
    if (file) {
        if (fscanf(file, "%ld", &known) != 1)
            known = DEFAULT_CAPACITY;
        fclose(file);
    }
    return known;
}

/* Ticks that each processor has idled since the machine was started. */
static void read_idle(long long idle[CPU_SETSIZE]) {
    char line[512];
    int processor;
    long long ticks;
    FILE *file = fopen("/proc/stat", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "cpu%d %*d %*d %*d %lld", &processor, &ticks) == 2 && processor < CPU_SETSIZE)
            idle[processor] = ticks;
    if (file)
        fclose(file);
}

static void take_one_processor(const cpu_set_t *allowed) {
    static long long before[CPU_SETSIZE], after[CPU_SETSIZE];
    long long most = -1;
    long fastest = -1;
    cpu_set_t one;
    read_idle(before);
    usleep(WATCH_US);
    read_idle(after);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++) {
        const long speed = CPU_ISSET(i, allowed) ? capacity(i) : -1;
        const long long idled = after[i] - before[i];
        if (speed > fastest || (speed == fastest && speed >= 0 && idled > most)) {
            fastest = speed;
            most = idled;
            CPU_ZERO(&one);
            CPU_SET(i, &one);
        }
    }
    if (CPU_COUNT(&one))
        sched_setaffinity(0, sizeof one, &one);
}

typedef struct {
    const contender *kernel;
    void **arguments;
    int64_t calls;
    double *spent;
} entry;

/* Time the kernels of `numbers`, which are words with spaces between. */
static void race(unsigned char *memory, int64_t round_ns, int64_t race_ns, long least, long most, char *numbers) {
    entry *entries = calloc((size_t)contender_count, sizeof *entries);
    int count = 0;
    int64_t whole = 0;
    if (!entries)
        fail("out of memory");
    for (char *word = strtok(numbers, " \n"); word; word = strtok(NULL, " \n")) {
        const int number = atoi(word);
        if (number < 0 || number >= contender_count || count == contender_count)
            fail("there is no such kernel");
        entry *const e = &entries[count++];
        e->kernel = &contenders[number];
        e->arguments = calloc((size_t)e->kernel->pointers, sizeof *e->arguments);
        e->spent = calloc((size_t)most, sizeof *e->spent);
        if (!e->arguments || !e->spent)
            fail("out of memory");
        for (int i = 0; i < e->kernel->pointers; i++)
            e->arguments[i] = memory + e->kernel->offsets[i];
        e->kernel->time(e->arguments, 1); /* pages come in */
        int64_t once = e->kernel->time(e->arguments, 1);
        once = once > 1 ? once : 1;
        e->calls = round_ns > once ? round_ns / once : 1;
        whole += e->calls * once;
    }
    long rounds = count ? race_ns / whole : 0;
    rounds = rounds < least ? least : rounds > most ? most : rounds;
    for (long turn = 0; turn < rounds; turn++)
        for (int i = 0; i < count; i++) {
            entry *const e = &entries[turn % 2 ? i : count - 1 - i];
            e->spent[turn] = (double)e->kernel->time(e->arguments, e->calls) / (double)e->calls;
        }
    printf("ok %ld", rounds);
    for (int i = 0; i < count; i++) {
        for (long turn = 0; turn < rounds; turn++)
            printf(" %.9g", entries[i].spent[turn]);
        free(entries[i].arguments);
        free(entries[i].spent);
    }
    putchar('\n');
    free(entries);
}

static void command_race(const char *path, unsigned seconds, int64_t round_ns, int64_t race_ns, long least, long most,
                         char *numbers) {
    struct stat about;
    cpu_set_t allowed;
    const int file = open(path, O_RDONLY);
    if (file < 0 || fstat(file, &about))
        fail("cannot open the file of the memory");
    unsigned char *memory = mmap(NULL, (size_t)about.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    if (memory == MAP_FAILED)
        fail("out of memory");
    close(file);
    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof allowed, &allowed);
    take_one_processor(&allowed);
    alarm(seconds);
    race(memory, round_ns, race_ns, least, most, numbers);
    alarm(0);
    sched_setaffinity(0, sizeof allowed, &allowed);
    munmap(memory, (size_t)about.st_size);
}

int main(void) {
    static char line[65536], path[4096];
    unsigned seconds;
    long long round_ns, race_ns;
    long least, most;
    int read;
    puts("ok ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "race %4095s %u %lld %lld %ld %ld %n", path, &seconds, &round_ns, &race_ns, &least, &most,
                   &read) == 6 &&
            least > 0 && most >= least)
            command_race(path, seconds, round_ns, race_ns, least, most, line + read);
        else
            puts("error unknown command");
        fflush(stdout);
    }
    return 0;
}
