/*
 * A fork-join pool of BUDGETC_THREADS - 1 workers, started by the first inference that needs them.
 *
 * The lock word holds the process id of its owner. After a fork the child finds the id of a process that it is not
 * and takes the lock over; the workers, which a fork does not copy, are then started anew.
 * A worker spins for a few microseconds after each piece of work, because the next kernel comes soon, then sleeps.
 *
 * A piece of work is BUDGETC_THREADS shares. Each thread takes its own, so that it finds in its cache what it made
 * before; the caller then takes what nobody has begun. So a worker that sleeps, or has no processor, costs nothing.
 */
#define _GNU_SOURCE
#include "pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WORKERS (BUDGETC_THREADS - 1)
#define STACK_BYTES (256 * 1024)
#define SPIN_ROUNDS 1000

static _Atomic int32_t owner;    /* process id of the inference's process, 0 when free */
static _Atomic uint32_t round_;  /* counts pieces of work; workers sleep on it */
static _Atomic uint32_t pending; /* shares that are not finished; the caller sleeps on it */
static _Atomic uint32_t taken[BUDGETC_THREADS]; /* the last round in which each share was begun */
static _Atomic int32_t sleepers;
static _Atomic int32_t caller_sleeps;
static _Atomic int32_t stopping;

/* What follows is written by the owner only, before a change of `round_` publishes it. */
static int32_t home; /* process id that the workers live in */
static int32_t started;
static int32_t spin_rounds;
static pthread_t workers[WORKERS];
static struct {
    pool_part part;
    const void *context;
    int32_t tasks;
} work;

static void futex_sleep(_Atomic uint32_t *word, uint32_t value) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, (void *)0, (void *)0, 0);
}

static void futex_wake(_Atomic uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 0x7fffffff, (void *)0, (void *)0, 0);
}

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/*
 * Share `index` of a round, unless somebody has begun it. Rounds end only when all their shares have, so what is not
 * begun is of the round that is under way, and `work` is that round's.
 */
static void take_share(int32_t index, uint32_t round) {
    uint32_t last = atomic_load(&taken[index]);
    if ((int32_t)(round - last) <= 0 || !atomic_compare_exchange_strong(&taken[index], &last, round))
        return;
    const int64_t tasks = work.tasks;
    const int32_t begin = (int32_t)(tasks * index / BUDGETC_THREADS);
    const int32_t end = (int32_t)(tasks * (index + 1) / BUDGETC_THREADS);
    if (begin < end)
        work.part(work.context, begin, end);
    if (atomic_fetch_sub(&pending, 1) == 1 && atomic_load(&caller_sleeps))
        futex_wake(&pending);
}

static void *worker(void *argument) {
    const int32_t index = (int32_t)(intptr_t)argument;
    uint32_t seen = atomic_load(&round_) - 1; /* what has begun meanwhile may still want a hand */
    for (;;) {
        for (int32_t i = 0; i < spin_rounds && atomic_load_explicit(&round_, memory_order_acquire) == seen; i++)
            relax();
        if (atomic_load(&round_) == seen) {
            /* Announced before the last look: the owner either sees the sleeper or the sleeper sees the work. */
            atomic_fetch_add(&sleepers, 1);
            while (atomic_load(&round_) == seen)
                futex_sleep(&round_, seen);
            atomic_fetch_sub(&sleepers, 1);
        }
        if (atomic_load(&stopping))
            return 0;
        seen = atomic_load(&round_);
        take_share(index, seen);
    }
}

static void start_workers(int32_t process) {
    sigset_t all, before;
    pthread_attr_t attributes;
    atomic_store(&pending, 0);
    atomic_store(&sleepers, 0);
    atomic_store(&caller_sleeps, 0);
    home = process;
    started = 0;
    /* Spinning on a core that another thread of ours needs only delays it. */
    spin_rounds = sysconf(_SC_NPROCESSORS_ONLN) >= BUDGETC_THREADS ? SPIN_ROUNDS : 0;
    if (pthread_attr_init(&attributes))
        return;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals belong to the program's own threads */
    while (started < WORKERS &&
           !pthread_create(&workers[started], &attributes, worker, (void *)(intptr_t)(started + 1)))
        started++;
    pthread_sigmask(SIG_SETMASK, &before, 0);
    pthread_attr_destroy(&attributes);
}

int pool_enter(void) {
    const int32_t process = (int32_t)getpid();
    int32_t holder = 0;
    if (!atomic_compare_exchange_strong(&owner, &holder, process) &&
        (holder == process || holder < 0 || !atomic_compare_exchange_strong(&owner, &holder, process)))
        return 0;
    if (home != process)
        start_workers(process);
    return 1;
}

void pool_leave(int owned) {
    if (owned)
        atomic_store(&owner, 0);
}

/* The new round's number. */
static uint32_t publish(void) {
    const uint32_t round = atomic_fetch_add(&round_, 1) + 1;
    if (atomic_load(&sleepers))
        futex_wake(&round_);
    return round;
}

void pool_for(int owned, int32_t tasks, pool_part part, const void *context) {
    if (!owned || !started) {
        part(context, 0, tasks);
        return;
    }
    work.part = part;
    work.context = context;
    work.tasks = tasks;
    atomic_store(&pending, BUDGETC_THREADS);
    const uint32_t round = publish();
    for (int32_t i = 0; i < BUDGETC_THREADS; i++)
        take_share(i, round);
    for (int32_t i = 0; i < spin_rounds && atomic_load_explicit(&pending, memory_order_acquire); i++)
        relax();
    for (uint32_t left; (left = atomic_load(&pending));) {
        atomic_store(&caller_sleeps, 1);
        futex_sleep(&pending, left);
    }
    atomic_store(&caller_sleeps, 0);
}

/* At dlclose and at exit. An inference that another thread is still running keeps the pool: then nothing is touched. */
__attribute__((destructor)) static void stop_workers(void) {
    int32_t free_ = 0;
    if (!atomic_compare_exchange_strong(&owner, &free_, -1) || home != (int32_t)getpid())
        return;
    atomic_store(&stopping, 1);
    publish();
    for (int32_t i = 0; i < started; i++)
        pthread_join(workers[i], 0);
    started = 0;
}
