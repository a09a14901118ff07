/* Prints the class that the model gives eight rising numbers. Also compiles as C++. */
#include <stdint.h>
#include <stdio.h>
#include "tiny.h"

int main(void) {
    static unsigned char memory[TINY_WORKSPACE_BYTES + TINY_WORKSPACE_ALIGNMENT];
    float x[TINY_INPUT_X_ELEMENTS], y[TINY_OUTPUT_Y_ELEMENTS];
    int best = 0;
    for (int i = 0; i < TINY_INPUT_X_ELEMENTS; i++)
        x[i] = (float)i;
    uintptr_t unit = TINY_WORKSPACE_ALIGNMENT;
    void *workspace = (void *)(((uintptr_t)memory + unit - 1) / unit * unit);
    const tiny_inputs inputs = {x};
    const tiny_outputs outputs = {y};
    if (tiny_run(&inputs, &outputs, workspace) != TINY_OK)
        return 1;
    for (int i = 1; i < TINY_OUTPUT_Y_ELEMENTS; i++)
        if (y[i] > y[best])
            best = i;
    printf("class %d\n", best);
    return 0;
}
