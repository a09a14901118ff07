/* The kernels that race.c times, as a table in a file of its own. */
#include <stdint.h>

typedef struct {
    int64_t (*time)(void **arguments, int64_t calls); /* calls the kernel so often: nanoseconds */
    int32_t pointers;
    const int64_t *offsets; /* of its arguments in the memory */
} contender;

extern const contender contenders[];
extern const int32_t contender_count;
