/* One inference in C: reads an image of raw floats, prints its class. Also compiles as C++. */
#include <stdio.h>
#include <stdlib.h>
#include "mnist.h"

int main(int argc, char **argv) {
    static float image[MNIST_INPUT_INPUT_ELEMENTS], logits[MNIST_OUTPUT_LOGITS_ELEMENTS];
    FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;
    if (!file || fread(image, sizeof image, 1, file) != 1)
        return 2;
    fclose(file);
    void *workspace = aligned_alloc(MNIST_WORKSPACE_ALIGNMENT, MNIST_WORKSPACE_BYTES);
    const mnist_inputs inputs = {image};
    const mnist_outputs outputs = {logits};
    int failed = mnist_run(&inputs, &outputs, workspace), best = 0;
    for (int i = 1; i < MNIST_OUTPUT_LOGITS_ELEMENTS; i++)
        if (logits[i] > logits[best])
            best = i;
    printf("%d\n", best);
    free(workspace);
    return failed;
}
