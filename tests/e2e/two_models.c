/*
 * Two threads run two models of one input and one output at the same time and compare every output with the one that
 * each model gave alone.
 *
 *   cc -DFIRST=mnist_run -DSECOND=animals_run two_models.c libmnist.a libanimals.a -lm -lpthread
 *   ./a.out COUNT {INPUT_BYTES OUTPUT_BYTES WORKSPACE_BYTES INPUT_FILE} twice
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int FIRST(const void *inputs, const void *outputs, void *workspace);
int SECOND(const void *inputs, const void *outputs, void *workspace);

typedef struct {
    int (*run)(const void *, const void *, void *);
    long count, different;
    size_t output_bytes;
    void *input, *output, *alone, *workspace;
} model;

static model open_model(int (*run)(const void *, const void *, void *), long count, char **arguments) {
    const size_t input_bytes = strtoull(arguments[0], NULL, 10), workspace = strtoull(arguments[2], NULL, 10);
    model m = {run, count, 0, strtoull(arguments[1], NULL, 10), NULL, NULL, NULL, NULL};
    FILE *file = fopen(arguments[3], "rb");
    m.input = malloc(input_bytes);
    m.output = malloc(m.output_bytes);
    m.alone = malloc(m.output_bytes);
    m.workspace = aligned_alloc(64, workspace);
    if (!file || !m.input || !m.output || !m.alone || !m.workspace || fread(m.input, input_bytes, 1, file) != 1)
        exit(2);
    fclose(file);
    if (run(&m.input, &m.alone, m.workspace))
        exit(3);
    return m;
}

static void *work(void *argument) {
    model *const m = argument;
    for (long i = 0; i < m->count; i++) {
        memset(m->output, 0xA5, m->output_bytes);
        m->different += m->run(&m->input, &m->output, m->workspace) != 0 ||
                        memcmp(m->output, m->alone, m->output_bytes) != 0;
    }
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t threads[2];
    if (argc != 10)
        return 2;
    model models[2] = {open_model(FIRST, atol(argv[1]), argv + 2), open_model(SECOND, atol(argv[1]), argv + 6)};
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, work, &models[i]))
            return 2;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    printf("%ld %ld\n", models[0].different, models[1].different);
    return models[0].different || models[1].different;
}
