/*
 * Runs the library that ships, as firmware: the commands of ../harness.c that a core without an operating system can
 * answer, by the same protocol. The library and its sizes are compiled in:
 *
 *   -DRUN=symbol -DWORKSPACE_BYTES=n -DINPUTS=n,... -DOUTPUTS=n,...
 *
 *   run IN OUT   every sample of file IN, one inference each: ok SAMPLES
 *   load IN      keep the first sample of IN for `count`: ok
 *   count        one inference on it: ok INSTRUCTIONS STACK, those that it took and the depth of its stack in bytes
 *   memory       ok 0 0 STACK, as above; nothing here has pages
 *   quit
 */
#include "board.h"

#define PAINT 0xA5A5A5A5u
#define PAINTED_WORDS 4096
#define NOPS 20000u

int RUN(const void *inputs, const void *outputs, void *workspace);

static const uint32_t input_bytes[] = {INPUTS}, output_bytes[] = {OUTPUTS};
enum {
    INPUTS_COUNT = sizeof input_bytes / sizeof *input_bytes,
    OUTPUTS_COUNT = sizeof output_bytes / sizeof *output_bytes
};
_Alignas(64) static uint8_t workspace[WORKSPACE_BYTES + 1];
extern uint8_t heap_start[], heap_end[];
static uint8_t *inputs[INPUTS_COUNT], *outputs[OUTPUTS_COUNT];
static int in, out;

static void say(const char *text) {
    uint32_t length = 0;
    while (text[length])
        length++;
    write_host(out, text, length);
}

static void say_number(uint64_t number) {
    char digits[24], *at = digits + sizeof digits - 1;
    *at = 0;
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    *--at = ' ';
    say(at);
}

static void fail(const char *what) {
    say("error ");
    say(what);
    say("\n");
    leave(2);
}

/* Buffers lie one after another in what the sections leave of the memory, each followed by a word of paint. */
static void make_buffers(void) {
    uint8_t *at = heap_start;
    for (int i = 0; i < INPUTS_COUNT; i++, at += 16)
        inputs[i] = at, at += (input_bytes[i] + 15) & ~15u;
    for (int i = 0; i < OUTPUTS_COUNT; i++, at += 16)
        outputs[i] = at, at += (output_bytes[i] + 15) & ~15u;
    if (at > heap_end)
        fail("the board has too little memory");
}

static int read_sample(int file) {
    for (int i = 0; i < INPUTS_COUNT; i++)
        if (read_host(file, inputs[i], input_bytes[i]) != input_bytes[i])
            return 0;
    return 1;
}

static void fill(uint8_t *at, uint32_t bytes, uint8_t value) {
    while (bytes--)
        *at++ = value;
}

static void infer(void) {
    const int code = RUN(inputs, outputs, workspace);
    if (code) {
        say("error the library returned");
        say_number((uint64_t)code);
        say("\n");
        leave(2);
    }
}

static int open_or_fail(const char *path, int mode) {
    const int file = open_host(path, mode);
    if (file < 0)
        fail("cannot open a file of samples");
    return file;
}

static void command_run(const char *from, const char *to) {
    const int source = open_or_fail(from, FROM_FILE), sink = open_or_fail(to, TO_FILE);
    uint64_t samples = 0;
    for (; read_sample(source); samples++) {
        fill(workspace, WORKSPACE_BYTES, samples % 2 ? 0xA5 : 0xFF);
        for (int i = 0; i < OUTPUTS_COUNT; i++)
            fill(outputs[i], (output_bytes[i] + 15 & ~15u) + 16, 0xA5);
        infer();
        for (int i = 0; i < OUTPUTS_COUNT; i++) {
            for (uint32_t at = output_bytes[i]; at < (output_bytes[i] + 15 & ~15u) + 16; at++)
                if (outputs[i][at] != 0xA5)
                    fail("the library wrote beyond an output");
            if (!write_host(sink, outputs[i], output_bytes[i]))
                fail("cannot write the outputs");
        }
    }
    close_host(source);
    close_host(sink);
    say("ok");
    say_number(samples);
    say("\n");
}

/* One inference on what the buffers hold. The stack below is painted, and what is no longer paint was used. */
static __attribute__((noinline)) void measure(uint64_t *instructions, uint32_t *stack) {
    volatile uint32_t *top;
    __asm__ volatile("mov %0, sp" : "=r"(top));
    for (int i = 1; i <= PAINTED_WORDS; i++)
        top[-i] = PAINT;
    const uint64_t start = ticks();
    twenty_thousand_nops();
    const uint64_t middle = ticks();
    infer();
    const uint64_t end = ticks();
    int used = PAINTED_WORDS;
    while (used && top[-used] == PAINT)
        used--;
    *instructions = (end - middle) * NOPS / (middle - start);
    *stack = 4 * (uint32_t)used;
}

static void command_count(int memory) {
    uint64_t instructions;
    uint32_t stack;
    measure(&instructions, &stack);
    say(memory ? "ok 0 0" : "ok");
    if (!memory)
        say_number(instructions);
    say_number(stack);
    say("\n");
}

static int same(const char *a, const char *b) {
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

int main(void) {
    static char line[256];
    char *words[4];
    in = open_host(":tt", CONSOLE_IN);
    out = open_host(":tt", CONSOLE_OUT);
    make_buffers();
    say("ok ready\n");
    for (;;) {
        uint32_t length = 0;
        while (length < sizeof line - 1 && read_host(in, line + length, 1) && line[length] != '\n')
            length++;
        if (!length)
            return 0;
        line[length] = 0;
        int count = 0;
        for (char *at = line; count < 4; count++) {
            words[count] = at;
            while (*at && *at != ' ')
                at++;
            if (!*at) {
                count++;
                break;
            }
            *at++ = 0;
        }
        if (count == 3 && same(words[0], "run"))
            command_run(words[1], words[2]);
        else if (count == 2 && same(words[0], "load")) {
            const int file = open_or_fail(words[1], FROM_FILE);
            if (!read_sample(file))
                fail("the file holds no whole sample");
            close_host(file);
            say("ok\n");
        } else if (same(words[0], "count"))
            command_count(0);
        else if (same(words[0], "memory"))
            command_count(1);
        else if (same(words[0], "quit"))
            return 0;
        else
            fail("a core without an operating system cannot do this");
    }
}
