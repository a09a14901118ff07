/*
 * A host program as a user of a library would write it, with a clock: what one fresh process sees of one library.
 *
 *   host LIBRARY SYMBOL WORKSPACE_BYTES SECONDS SAMPLES ANSWERS INPUTS BYTES... OUTPUTS BYTES...
 *
 * Opens the library and runs the first sample of the file SAMPLES: the cold start. Then warms up and runs it for SECONDS,
 * each inference timed by itself. Where ANSWERS is not "-", every sample is run once and its outputs are appended there.
 * A sample is its inputs one after the other. Prints one line of JSON: seconds and bytes, and nanoseconds of each run.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_PORTS 64
#define MAX_RUNS 200000
#define MIN_RUNS 7
#define MIN_WARM_RUNS 2
#define WARM_UP 0.25
#define ALIGNMENT 64

typedef int (*run_function)(const void *inputs, const void *outputs, void *workspace);

static run_function run;
static unsigned char *inputs[MAX_PORTS], *outputs[MAX_PORTS], *workspace;
static size_t input_bytes[MAX_PORTS], output_bytes[MAX_PORTS];
static int inputs_count, outputs_count;

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what ? what : "failed");
    exit(1);
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static unsigned char *buffer(size_t bytes) {
    unsigned char *made = aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT);
    if (!made)
        fail("out of memory");
    memset(made, 0, bytes);
    return made;
}

/* Bytes of this process that are in memory; read without the C library's buffers, which would add to them. */
static long resident(void) {
    static char text[4096];
    const int file = open("/proc/self/smaps_rollup", O_RDONLY);
    const ssize_t length = file < 0 ? 0 : read(file, text, sizeof text - 1);
    if (file >= 0)
        close(file);
    text[length > 0 ? length : 0] = 0;
    const char *at = strstr(text, "\nRss:");
    return at ? strtol(at + 5, NULL, 10) * 1024 : 0;
}

static void infer(void) {
    if (run(inputs, outputs, workspace))
        fail("the library refused the call");
}

static int next_sample(FILE *samples) {
    for (int i = 0; i < inputs_count; i++)
        if (fread(inputs[i], 1, input_bytes[i], samples) != input_bytes[i])
            return 0;
    return 1;
}

static int ports(char ***rest, size_t *bytes, unsigned char **buffers) {
    const int count = **rest ? atoi(*(*rest)++) : 0;
    if (count < 1 || count > MAX_PORTS)
        fail("a model has 1 to 64 inputs and 1 to 64 outputs");
    for (int i = 0; i < count; i++) {
        if (!**rest)
            fail("too few arguments");
        bytes[i] = strtoull(*(*rest)++, NULL, 10);
        buffers[i] = buffer(bytes[i]);
    }
    return count;
}

int main(int argc, char **argv) {
    static int64_t spent[MAX_RUNS];
    if (argc < 11)
        fail("usage: host LIBRARY SYMBOL WORKSPACE_BYTES SECONDS SAMPLES ANSWERS INPUTS BYTES... OUTPUTS BYTES...");
    const double seconds = atof(argv[4]);
    char **rest = argv + 7;
    inputs_count = ports(&rest, input_bytes, inputs);
    outputs_count = ports(&rest, output_bytes, outputs);
    FILE *samples = fopen(argv[5], "rb");
    if (!samples || !next_sample(samples))
        fail("the file of samples holds none");

    resident(); /* once for nothing: the code that reads it is resident too */
    const long before = resident();
    const int64_t start = now();
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    void *symbol = library ? dlsym(library, argv[2]) : NULL;
    if (!symbol)
        fail(dlerror());
    memcpy(&run, &symbol, sizeof run);
    workspace = aligned_alloc(ALIGNMENT, (strtoull(argv[3], NULL, 10) + ALIGNMENT) / ALIGNMENT * ALIGNMENT);
    if (!workspace)
        fail("out of memory");
    infer();
    const int64_t first = now();
    const long after = resident();

    const int64_t warm = now() + (int64_t)(seconds * WARM_UP * 1e9);
    for (int i = 0; i < MIN_WARM_RUNS || now() < warm; i++)
        infer();
    const int64_t end = now() + (int64_t)(seconds * 1e9);
    int runs = 0;
    while (runs < MIN_RUNS || (runs < MAX_RUNS && now() < end)) {
        const int64_t began = now();
        infer();
        spent[runs++] = now() - began;
    }

    if (strcmp(argv[6], "-")) {
        FILE *answers = fopen(argv[6], "wb");
        if (!answers || fseek(samples, 0, SEEK_SET))
            fail("cannot write the answers");
        while (next_sample(samples)) {
            infer();
            for (int i = 0; i < outputs_count; i++)
                if (fwrite(outputs[i], 1, output_bytes[i], answers) != output_bytes[i])
                    fail("cannot write the answers");
        }
        if (fclose(answers))
            fail("cannot write the answers");
    }
    printf("{\"cold\": %.9f, \"resident\": %ld, \"nanoseconds\": [", (double)(first - start) * 1e-9, after - before);
    for (int i = 0; i < runs; i++)
        printf(i ? ",%lld" : "%lld", (long long)spent[i]);
    puts("]}");
    return 0;
}
