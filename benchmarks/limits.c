/*
 * What one core can do at most: prints one line of JSON.
 *
 *   limits SECONDS BYTES...
 *
 * float_ops, bf16_ops and int8_ops a second (a multiply-add is two; 0 without such an instruction), and for each number of
 * bytes how many a second can be read from a buffer of that size. Each is the best of several short trials.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define KEEP(x) __asm__ volatile("" : "+v"(x))
#elif defined(__aarch64__)
#include <arm_neon.h>
#define KEEP(x) __asm__ volatile("" : "+w"(x))
#endif

#if defined(__AVX512F__)
#define WIDTH 64
#elif defined(__AVX__)
#define WIDTH 32
#else
#define WIDTH 16
#endif

/* Enough chains to hide the latency of two units, few enough for sixteen registers. */
#define CHAINS 12
#define STEPS 4096
#define TRIALS 8

typedef float floats __attribute__((vector_size(WIDTH)));
typedef int64_t integers __attribute__((vector_size(WIDTH)));

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void multiply_add(void) {
    floats sum[CHAINS], a = {0}, b = {0};
    for (int i = 0; i < CHAINS; i++)
        sum[i] = a;
    KEEP(a);
    KEEP(b);
    for (int step = 0; step < STEPS; step++) {
#pragma clang loop unroll(full)
        for (int i = 0; i < CHAINS; i++) {
            sum[i] += a * b;
            KEEP(sum[i]);
        }
    }
}

#if defined(__AVX512VNNI__)
#define DOT_BYTES 64
typedef __m512i codes;
static inline codes dot(codes sum, codes a, codes b) { return _mm512_dpbusd_epi32(sum, a, b); }
#elif defined(__AVXVNNI__)
#define DOT_BYTES 32
typedef __m256i codes;
static inline codes dot(codes sum, codes a, codes b) { return _mm256_dpbusd_avx_epi32(sum, a, b); }
#elif defined(__ARM_FEATURE_DOTPROD)
#define DOT_BYTES 16
typedef int32x4_t codes;
static inline codes dot(codes sum, codes a, codes b) {
    return vdotq_s32(sum, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b));
}
#endif

#ifdef DOT_BYTES
static void dot_products(void) {
    codes sum[CHAINS], a, b;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    for (int i = 0; i < CHAINS; i++)
        sum[i] = a;
    KEEP(a);
    KEEP(b);
    for (int step = 0; step < STEPS; step++) {
#pragma clang loop unroll(full)
        for (int i = 0; i < CHAINS; i++) {
            sum[i] = dot(sum[i], a, b);
            KEEP(sum[i]);
        }
    }
}
#endif

#ifdef __AVX512BF16__
static void bfloat16_products(void) {
    __m512 sum[CHAINS];
    __m512bh a, b;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm512_setzero_ps();
    KEEP(a);
    KEEP(b);
    for (int step = 0; step < STEPS; step++) {
#pragma clang loop unroll(full)
        for (int i = 0; i < CHAINS; i++) {
            sum[i] = _mm512_dpbf16_ps(sum[i], a, b);
            KEEP(sum[i]);
        }
    }
}
#endif

static const unsigned char *memory;
static size_t memory_bytes;

static void read_all(void) {
    for (const unsigned char *at = memory; at < memory + memory_bytes; at += 8 * WIDTH) {
#pragma clang loop unroll(full)
        for (int i = 0; i < 8; i++) {
            integers loaded = *(const integers *)(at + i * WIDTH);
            KEEP(loaded);
        }
    }
}

/* Amount of work a second: the best of the trials, which together take the time. */
static double rate(void (*work)(void), double amount, double seconds) {
    double best = 0;
    work();
    for (int trial = 0; trial < TRIALS; trial++) {
        const double start = now();
        double end;
        long rounds = 0;
        do {
            work();
            rounds++;
            end = now();
        } while (end - start < seconds / TRIALS);
        if (amount * (double)rounds / (end - start) > best)
            best = amount * (double)rounds / (end - start);
    }
    return best;
}

static double read_rate(size_t bytes, double seconds) {
    memory_bytes = bytes / (8 * WIDTH) * (8 * WIDTH);
    unsigned char *made = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!made)
        exit(1);
    memset(made, 1, bytes);
    memory = made;
    const double found = rate(read_all, (double)memory_bytes, seconds);
    free(made);
    return found;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fputs("usage: limits SECONDS BYTES...\n", stderr);
        return 2;
    }
    const double seconds = atof(argv[1]);
    double bf16 = 0, int8 = 0;
#ifdef __AVX512BF16__
    bf16 = rate(bfloat16_products, 2.0 * 32 * CHAINS * STEPS, seconds);
#endif
#ifdef DOT_BYTES
    int8 = rate(dot_products, 2.0 * DOT_BYTES * CHAINS * STEPS, seconds);
#endif
    printf("{\"float_ops\": %.6g, \"bf16_ops\": %.6g, \"int8_ops\": %.6g, \"read\": [",
           rate(multiply_add, 2.0 * (WIDTH / 4) * CHAINS * STEPS, seconds), bf16, int8);
    for (int i = 2; i < argc; i++)
        printf(i > 2 ? ", %.6g" : "%.6g", read_rate((size_t)atol(argv[i]), seconds));
    puts("]}");
    return 0;
}
