/* Threads for one library: ranges of a kernel's tasks are run side by side. */
#ifndef BUDGETC_POOL_H
#define BUDGETC_POOL_H

#include <stdint.h>

typedef void (*pool_part)(const void *context, int32_t begin, int32_t end);

/* Claim the pool for one inference. 0 means that another inference has it: the work is then done by the caller. */
__attribute__((visibility("hidden"))) int pool_enter(void);
__attribute__((visibility("hidden"))) void pool_leave(int owned);

/* Run `part` over [0, tasks) in contiguous ranges and return when all of it is done. */
__attribute__((visibility("hidden"))) void pool_for(int owned, int32_t tasks, pool_part part, const void *context);

#endif
