/*
 * A plugin for qemu's user-mode emulators: it counts the instructions that are executed, into a file.
 *
 *   qemu-ARCH -plugin counter.so,into=PATH PROGRAM
 *
 * The file holds one number of 8 bytes and is mapped, so that its reader sees the count while the program waits for
 * something. What is declared here is the part of qemu's plugin interface that is used; INTERFACE is its version, 1 up
 * to qemu 8, 2 from qemu 9 on, which took the first way to count away.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct block;

extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct block *));
extern size_t qemu_plugin_tb_n_insns(const struct block *);
#if INTERFACE < 2
enum operation { ADD };
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct block *, enum operation, void *, uint64_t);
#else
enum registers { UNTOUCHED };
extern void qemu_plugin_register_vcpu_tb_exec_cb(
    struct block *, void (*)(unsigned, void *), enum registers, void *);
#endif

EXPORT int qemu_plugin_version = INTERFACE;
static uint64_t *count;

#if INTERFACE >= 2
static void executed(unsigned processor, void *instructions) {
    (void)processor;
    *count += (uintptr_t)instructions;
}
#endif

/* A block is translated once and executed as a whole. */
static void translated(plugin_id id, struct block *block) {
    const size_t instructions = qemu_plugin_tb_n_insns(block);
    (void)id;
#if INTERFACE < 2
    qemu_plugin_register_vcpu_tb_exec_inline(block, ADD, count, instructions);
#else
    qemu_plugin_register_vcpu_tb_exec_cb(block, executed, UNTOUCHED, (void *)(uintptr_t)instructions);
#endif
}

EXPORT int qemu_plugin_install(plugin_id id, const void *emulator, int argc, char **argv) {
    (void)emulator;
    if (argc != 1 || strncmp(argv[0], "into=", 5))
        return 1;
    const int file = open(argv[0] + 5, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (file < 0 || ftruncate(file, sizeof *count))
        return 1;
    count = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (count == MAP_FAILED)
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
