/*
 * Runs the library that ships and reports on it; one program for every target.
 *
 *   harness LIBRARY SYMBOL WORKSPACE_BYTES INPUTS BYTES... OUTPUTS BYTES...
 *
 * LIBRARY is opened at run time; in a program compiled with -DSTATIC_RUN=symbol the library is linked in and the
 * first two arguments are ignored. Commands come line by line on stdin, and each is answered by one line, "ok ..." or
 * "error ...", on stdout:
 *
 *   run IN OUT            every sample of file IN, one inference each: ok SAMPLES. A sample is its inputs, one after
 *                         the other. Buffers end at a forbidden page and the workspace starts as garbage.
 *   load IN               keep the first sample of IN for `time`: ok
 *   repeat N              N inferences on it: ok
 *   time N                N timed inferences: ok NANOSECONDS...
 *   memory                only before any inference: ok RSS ANONYMOUS STACK, the bytes that the first inference added
 *                         to the process, those of them that are no file's, and the depth of its stack
 *   threads K N IN        K threads, N inferences each, over the samples of IN: ok DIFFERENT, the number of inferences
 *                         whose outputs are not those of one thread alone
 *   profile N PROBE OUT   N inferences of a library that calls the function behind its pointer PROBE between its steps:
 *                         ok MOMENTS, the number of its calls in an inference; OUT gets the nanoseconds between them,
 *                         one row of MOMENTS - 1 numbers of 8 bytes for each inference
 *   quit
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MAX_PORTS 64
#define STACK_BYTES (8 << 20)
#define PAINT 0xA5A5A5A5A5A5A5A5u

typedef int (*run_function)(const void *inputs, const void *outputs, void *workspace);

/* A set of buffers for one inference at a time. The structs of the header are arrays of pointers in memory. */
typedef struct {
    unsigned char *inputs[MAX_PORTS];
    unsigned char *outputs[MAX_PORTS];
    unsigned char *workspace;
} buffers;

static run_function run;
static size_t workspace_bytes, input_bytes[MAX_PORTS], output_bytes[MAX_PORTS], sample_bytes, result_bytes;
static int inputs_count, outputs_count;
static unsigned long inferences;

#ifdef STATIC_RUN
int STATIC_RUN(const void *inputs, const void *outputs, void *workspace);
#endif

static void fail(const char *what) {
    printf("error %s\n", what);
    fflush(stdout);
    exit(2);
}

static unsigned char *map(size_t bytes) {
    void *memory = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        fail("out of memory");
    return memory;
}

/* Memory that ends where a page begins that may not be touched. */
static unsigned char *map_guarded(size_t bytes) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (bytes + page - 1) / page * page;
    unsigned char *memory = map(whole + page);
    if (mprotect(memory + whole, page, PROT_NONE))
        fail("mprotect failed");
    return memory + whole - bytes;
}

static buffers make_buffers(unsigned char *(*make)(size_t)) {
    buffers made;
    for (int i = 0; i < inputs_count; i++)
        made.inputs[i] = make(input_bytes[i]);
    for (int i = 0; i < outputs_count; i++)
        made.outputs[i] = make(output_bytes[i]);
    made.workspace = make(workspace_bytes);
    return made;
}

static void put_sample(buffers *b, const unsigned char *sample) {
    for (int i = 0; i < inputs_count; sample += input_bytes[i++])
        memcpy(b->inputs[i], sample, input_bytes[i]);
}

static void get_result(const buffers *b, unsigned char *result) {
    for (int i = 0; i < outputs_count; result += output_bytes[i++])
        memcpy(result, b->outputs[i], output_bytes[i]);
}

static void infer(buffers *b) {
    const int code = run(b->inputs, b->outputs, b->workspace);
    if (code) {
        char text[64];
        snprintf(text, sizeof text, "the library returned %d", code);
        fail(text);
    }
}

static FILE *open_or_fail(const char *path, const char *mode) {
    FILE *file = fopen(path, mode);
    if (!file)
        fail("cannot open a file of samples");
    return file;
}

static void command_run(const char *in_path, const char *out_path) {
    static buffers b;
    FILE *in = open_or_fail(in_path, "rb"), *out = open_or_fail(out_path, "wb");
    unsigned char *sample = malloc(sample_bytes + 1), *result = malloc(result_bytes + 1);
    unsigned long samples = 0;
    if (!sample || !result)
        fail("out of memory");
    if (!b.workspace)
        b = make_buffers(map_guarded);
    for (; fread(sample, 1, sample_bytes, in) == sample_bytes; samples++) {
        put_sample(&b, sample);
        memset(b.workspace, samples % 2 ? 0xA5 : 0xFF, workspace_bytes);
        for (int i = 0; i < outputs_count; i++)
            memset(b.outputs[i], 0xA5, output_bytes[i]);
        infer(&b);
        get_result(&b, result);
        if (fwrite(result, 1, result_bytes, out) != result_bytes)
            fail("cannot write the outputs");
    }
    free(sample);
    free(result);
    fclose(in);
    if (fclose(out))
        fail("cannot write the outputs");
    inferences += samples;
    printf("ok %lu\n", samples);
}

static void command_load(buffers *b, const char *path) {
    unsigned char *sample = malloc(sample_bytes + 1);
    FILE *in = open_or_fail(path, "rb");
    if (!sample || fread(sample, 1, sample_bytes, in) != sample_bytes)
        fail("the file holds no whole sample");
    put_sample(b, sample);
    free(sample);
    fclose(in);
    puts("ok");
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void command_repeat(buffers *b, long count) {
    for (long i = 0; i < count; i++)
        infer(b);
    inferences += (unsigned long)count;
    puts("ok");
}

static void command_time(buffers *b, long count) {
    int64_t *spent = malloc((size_t)count * sizeof *spent);
    if (!spent)
        fail("out of memory");
    memset(spent, 0, (size_t)count * sizeof *spent);
    for (long i = 0; i < count; i++) {
        const int64_t start = now();
        infer(b);
        spent[i] = now() - start;
    }
    inferences += (unsigned long)count;
    fputs("ok", stdout);
    for (long i = 0; i < count; i++)
        printf(" %lld", (long long)spent[i]);
    putchar('\n');
    free(spent);
}

static int64_t *moments;
static long passed, room;

static void pass(void) {
    if (passed < room)
        moments[passed] = now();
    passed++;
}

static void command_profile(buffers *b, long count, void (**probe)(void), const char *path) {
    FILE *out = open_or_fail(path, "wb");
    *probe = pass;
    passed = room = 0;
    infer(b);
    room = passed;
    moments = malloc((size_t)(room + 1) * sizeof *moments);
    if (!moments || room < 2)
        fail("the library has no probes");
    memset(moments, 0, (size_t)room * sizeof *moments);
    for (long i = 0; i < count; i++) {
        passed = 0;
        infer(b);
        for (long k = 0; k + 1 < room; k++)
            moments[k] = moments[k + 1] - moments[k];
        if (fwrite(moments, sizeof *moments, (size_t)room - 1, out) != (size_t)room - 1)
            fail("cannot write the moments");
    }
    free(moments);
    if (fclose(out))
        fail("cannot write the moments");
    inferences += (unsigned long)count + 1;
    printf("ok %ld\n", room);
}

/* Bytes of a line such as "Rss:   1234 kB". */
static long field(const char *text, const char *name) {
    const char *at = strstr(text, name);
    return at ? strtol(at + strlen(name), NULL, 10) * 1024 : -1;
}

/* Read by plain calls into one buffer, so that the reading itself adds nothing between two readings. */
static void resident(long *rss, long *anonymous) {
    static char text[4096];
    int file = open("/proc/self/smaps_rollup", O_RDONLY);
    ssize_t length = file < 0 ? 0 : read(file, text, sizeof text - 1);
    if (file >= 0)
        close(file);
    text[length > 0 ? length : 0] = 0;
    *rss = field(text, "\nRss:");
    *anonymous = field(text, "\nAnonymous:");
    if (*rss >= 0 && *anonymous >= 0)
        return;
    /* Older kernels and emulators: pages in all, and pages of files. */
    file = open("/proc/self/statm", O_RDONLY);
    length = file < 0 ? 0 : read(file, text, sizeof text - 1);
    if (file >= 0)
        close(file);
    text[length > 0 ? length : 0] = 0;
    long all = 0, shared = 0;
    if (sscanf(text, "%*d %ld %ld", &all, &shared) != 2)
        fail("cannot read the memory of this process");
    *rss = all * sysconf(_SC_PAGESIZE);
    *anonymous = (all - shared) * sysconf(_SC_PAGESIZE);
}

static uint64_t *painted;

static void *infer_on_paint(void *argument) {
    const char *const top = __builtin_frame_address(0);
    infer(argument);
    const uint64_t *word = painted;
    while (*word == PAINT)
        word++;
    return (void *)(intptr_t)(top - (const char *)word);
}

static long stack_depth(buffers *b) {
    pthread_t thread;
    pthread_attr_t attributes;
    void *depth;
    painted = (uint64_t *)map(STACK_BYTES);
    for (size_t i = 0; i < STACK_BYTES / sizeof *painted; i++)
        painted[i] = PAINT;
    pthread_attr_init(&attributes);
    if (pthread_attr_setstack(&attributes, painted, STACK_BYTES) ||
        pthread_create(&thread, &attributes, infer_on_paint, b) || pthread_join(thread, &depth))
        fail("cannot start a thread");
    munmap(painted, STACK_BYTES);
    return (long)(intptr_t)depth;
}

static void command_memory(buffers *b) {
    long rss, anonymous, rss_after, anonymous_after;
    if (inferences++) {
        puts("error memory is measured before any inference");
        return;
    }
    for (int i = 0; i < outputs_count; i++)
        memset(b->outputs[i], 0, output_bytes[i]);
    for (int i = 0; i < inputs_count; i++)
        memset(b->inputs[i], 0, input_bytes[i]);
    resident(&rss, &anonymous);
    resident(&rss, &anonymous);
    infer(b);
    resident(&rss_after, &anonymous_after);
    printf("ok %ld %ld %ld\n", rss_after - rss, anonymous_after - anonymous, stack_depth(b));
}

typedef struct {
    const unsigned char *samples, *expected;
    size_t samples_count;
    long count, step, first, different;
} crowd_member;

static void *infer_in_crowd(void *argument) {
    crowd_member *const me = argument;
    buffers b = make_buffers(map);
    unsigned char *result = malloc(result_bytes + 1);
    if (!result)
        fail("out of memory");
    for (long i = 0; i < me->count; i++) {
        const size_t at = (size_t)(i * me->step + me->first) % me->samples_count;
        put_sample(&b, me->samples + at * sample_bytes);
        infer(&b);
        get_result(&b, result);
        me->different += memcmp(result, me->expected + at * result_bytes, result_bytes) != 0;
    }
    for (int i = 0; i < inputs_count; i++)
        munmap(b.inputs[i], input_bytes[i]);
    for (int i = 0; i < outputs_count; i++)
        munmap(b.outputs[i], output_bytes[i]);
    munmap(b.workspace, workspace_bytes);
    free(result);
    return NULL;
}

static void command_threads(buffers *b, int threads, long count, const char *path) {
    FILE *in = open_or_fail(path, "rb");
    fseek(in, 0, SEEK_END);
    const size_t samples_count = (size_t)ftell(in) / sample_bytes;
    rewind(in);
    unsigned char *samples = malloc(samples_count * sample_bytes + 1);
    unsigned char *expected = malloc(samples_count * result_bytes + 1);
    crowd_member *members = calloc((size_t)threads, sizeof *members);
    pthread_t *handles = calloc((size_t)threads, sizeof *handles);
    long different = 0;
    if (!samples || !expected || !members || !handles)
        fail("out of memory");
    if (!samples_count || fread(samples, sample_bytes, samples_count, in) != samples_count)
        fail("the file holds no whole sample");
    fclose(in);
    for (size_t i = 0; i < samples_count; i++) {
        put_sample(b, samples + i * sample_bytes);
        infer(b);
        get_result(b, expected + i * result_bytes);
    }
    for (int i = 0; i < threads; i++) {
        members[i] = (crowd_member){samples, expected, samples_count, count, threads, i, 0};
        if (pthread_create(&handles[i], NULL, infer_in_crowd, &members[i]))
            fail("cannot start a thread");
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(handles[i], NULL);
        different += members[i].different;
    }
    inferences += samples_count + (unsigned long)(count * threads);
    printf("ok %ld\n", different);
    free(samples);
    free(expected);
    free(members);
    free(handles);
}

static int read_sizes(char ***arguments, size_t *sizes, size_t *sum) {
    const int count = **arguments ? atoi(*(*arguments)++) : 0;
    if (count < 1 || count > MAX_PORTS)
        fail("a model has 1 to 64 inputs and 1 to 64 outputs");
    for (int i = 0; i < count; i++) {
        if (!**arguments)
            fail("too few arguments");
        sizes[i] = strtoull(*(*arguments)++, NULL, 10);
        *sum += sizes[i];
    }
    return count;
}

int main(int argc, char **argv) {
    static char line[8192], first[4096], second[4096];
    char **rest = argv + 4;
    long count;
    int threads;
    if (argc < 8)
        fail("usage: harness LIBRARY SYMBOL WORKSPACE_BYTES INPUTS BYTES... OUTPUTS BYTES...");
    workspace_bytes = strtoull(argv[3], NULL, 10);
    inputs_count = read_sizes(&rest, input_bytes, &sample_bytes);
    outputs_count = read_sizes(&rest, output_bytes, &result_bytes);
#ifdef STATIC_RUN
    run = STATIC_RUN;
#else
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    void *symbol = library ? dlsym(library, argv[2]) : NULL;
    if (!symbol)
        fail(dlerror());
    memcpy(&run, &symbol, sizeof run);
#endif
    buffers b = make_buffers(map);
    puts("ok ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "run %4095s %4095s", first, second) == 2)
            command_run(first, second);
        else if (sscanf(line, "load %4095s", first) == 1)
            command_load(&b, first);
        else if (sscanf(line, "time %ld", &count) == 1 && count > 0)
            command_time(&b, count);
        else if (sscanf(line, "repeat %ld", &count) == 1 && count > 0)
            command_repeat(&b, count);
        else if (sscanf(line, "threads %d %ld %4095s", &threads, &count, first) == 3 && threads > 0)
            command_threads(&b, threads, count, first);
#ifndef STATIC_RUN
        else if (sscanf(line, "profile %ld %4095s %4095s", &count, first, second) == 3 && count > 0) {
            void *probe = dlsym(library, first);
            if (!probe)
                fail(dlerror());
            command_profile(&b, count, probe, second);
        }
#endif
        else if (!strcmp(line, "memory\n"))
            command_memory(&b);
        else if (!strcmp(line, "quit\n"))
            break;
        else
            puts("error unknown command");
        fflush(stdout);
    }
#ifndef STATIC_RUN
    dlclose(library);
#endif
    return 0;
}
