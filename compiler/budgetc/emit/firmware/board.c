/* The start of a firmware on an Arm M-profile core, its semihosting calls and its clock. Needs no libc. */
#include "board.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define CPACR REGISTER(0xE000ED88u)
#define CONFIGURATION REGISTER(0xE000ED14u)
#define SYSTICK_CONTROL REGISTER(0xE000E010u)
#define SYSTICK_RELOAD REGISTER(0xE000E014u)
#define SYSTICK_VALUE REGISTER(0xE000E018u)

enum { SYS_OPEN = 1, SYS_CLOSE = 2, SYS_WRITE = 5, SYS_READ = 6, SYS_EXIT_EXTENDED = 0x20 };
#define APPLICATION_EXIT 0x20026u
#define SYSTICK_BITS 24

extern uint32_t stack_top[], bss_start[], bss_end[], data_start[], data_end[], data_load[];

static volatile uint32_t wraps;

static int host(int operation, const void *argument) {
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

int open_host(const char *path, int mode) {
    uint32_t length = 0;
    while (path[length])
        length++;
    const uint32_t block[] = {(uint32_t)path, (uint32_t)mode, length};
    return host(SYS_OPEN, block);
}

void close_host(int file) {
    const uint32_t block[] = {(uint32_t)file};
    host(SYS_CLOSE, block);
}

size_t read_host(int file, void *to, size_t bytes) {
    size_t done = 0;
    while (done < bytes) {
        const uint32_t block[] = {(uint32_t)file, (uint32_t)to + done, bytes - done};
        const int left = host(SYS_READ, block); /* of the bytes that were asked for */
        if (left < 0 || (size_t)left >= bytes - done)
            break;
        done = bytes - (size_t)left;
    }
    return done;
}

int write_host(int file, const void *from, size_t bytes) {
    const uint32_t block[] = {(uint32_t)file, (uint32_t)from, bytes};
    return !bytes || host(SYS_WRITE, block) == 0;
}

_Noreturn void leave(int code) {
    const uint32_t block[] = {APPLICATION_EXIT, (uint32_t)code};
    for (;;)
        host(SYS_EXIT_EXTENDED, block);
}

uint64_t ticks(void) {
    uint32_t before, value;
    do {
        before = wraps;
        value = SYSTICK_VALUE;
    } while (before != wraps);
    return ((uint64_t)before << SYSTICK_BITS) + ((1u << SYSTICK_BITS) - 1 - value);
}

__asm__(".text\n.thumb\n.global twenty_thousand_nops\n.thumb_func\n.type twenty_thousand_nops, %function\n"
        "twenty_thousand_nops:\n.rept 20000\nnop\n.endr\nbx lr\n");

static __attribute__((noinline)) void begin(void) {
    for (uint32_t *to = data_start, *from = data_load; to < data_end;)
        *to++ = *from++;
    for (uint32_t *to = bss_start; to < bss_end;)
        *to++ = 0;
    SYSTICK_RELOAD = (1u << SYSTICK_BITS) - 1;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 7;    /* on, with interrupts, by the core's clock */
    twenty_thousand_nops(); /* it reads as 0 until it has been loaded for the first time */
    leave(main());
}

/* Nothing else is in here: the units must be on before anything that a compiler may make vector code of. */
void reset(void) {
#if __ARM_FP || __ARM_FEATURE_MVE
    CPACR |= 0xFu << 20;
    __asm__ volatile("dsb\nisb" ::: "memory");
#endif
#if __ARM_ARCH == 6 /* its cores fault where an address is no multiple; the emulated one is told to */
    CONFIGURATION |= 1u << 3;
#endif
    begin();
}

static void fault(void) {
    static const char text[] = "the core faulted\n";
    write_host(open_host(":tt", 8), text, sizeof text - 1); /* standard error */
    leave(139);
}

static void wrapped(void) { wraps++; }

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    stack_top, reset, fault, fault, fault, fault, fault, fault, 0, 0, 0, fault, fault, 0, fault, wrapped,
};
