/* What a firmware without an operating system has instead of one: files and pipes of the machine that runs it, by
 * semihosting, and a count of the instructions that it executes. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* The firmware's own main; its result is the exit code. */
int main(void);

enum { FROM_FILE = 1, TO_FILE = 5, CONSOLE_IN = 0, CONSOLE_OUT = 4 };

/* A file of the folder the firmware was started in, or one of the pipes by the name ":tt"; negative on failure. */
int open_host(const char *path, int mode);
void close_host(int file);

/* Bytes read: fewer than wanted only at the end. */
size_t read_host(int file, void *to, size_t bytes);
/* Whether all was written. */
int write_host(int file, const void *from, size_t bytes);

_Noreturn void leave(int code);

/* Ticks of a clock that runs with the instructions where the emulator lets it. */
uint64_t ticks(void);
/* As many instructions that do nothing, and a call: by them, ticks become instructions. */
void twenty_thousand_nops(void);
