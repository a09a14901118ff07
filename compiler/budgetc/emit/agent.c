/* A program that speaks by lines, run where only TVM's RPC server is.
 *
 * The server calls functions of the libraries that it was sent. This library has three, and starts the program as a
 * process of its own, so that its crash is no crash of the server. What goes back and forth are files beside this one,
 * which the client writes and fetches by the server's own means:
 *
 *   start()       run `program` with the words of `arguments`, each of which ends with a zero byte: 0, or errno
 *   ask(SECONDS)  pass on the line in `command`, if there is one, and write the next line that the program says into
 *                 `answer`: its bytes, 0 where the program ended instead, or -1 where it took longer and was killed
 *   end()         say that there are no more commands, and wait: the exit code, or 128 and the signal's number
 *
 * What the program writes to standard error is in `errors`. It dies with the server's process, whatever ends that.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST_ARGUMENTS 1024
#define PATIENCE_SECONDS 5

/* TVM's value of any type: an integer is of type 1. */
typedef struct {
    int32_t type;
    uint32_t padding;
    int64_t integer;
} any;

static pid_t program = -1;
static int commands = -1, answers = -1;

/* A file beside this library. */
static const char *beside(const char *name) {
    static char path[PATH_MAX];
    char own[PATH_MAX];
    Dl_info found;
    if (!dladdr((void *)beside, &found) || strlen(found.dli_fname) >= sizeof own)
        return name;
    strcpy(own, found.dli_fname);
    snprintf(path, sizeof path, "%s/%s", dirname(own), name);
    return path;
}

static char *contents(const char *name, size_t *length) {
    FILE *file = fopen(beside(name), "rb");
    char *text = NULL;
    *length = 0;
    if (!file)
        return NULL;
    fseek(file, 0, SEEK_END);
    const long bytes = ftell(file);
    rewind(file);
    if (bytes >= 0 && (text = malloc((size_t)bytes + 1)))
        *length = fread(text, 1, (size_t)bytes, file);
    fclose(file);
    return text;
}

static int64_t start(void) {
    static char *words[MOST_ARGUMENTS + 2], path[PATH_MAX], folder[PATH_MAX];
    int in[2], out[2], count = 1;
    size_t length;
    char *text = contents("arguments", &length);
    if (!text)
        return errno ? errno : ENOENT;
    strcpy(path, beside("program"));
    strcpy(folder, path);
    strcpy(folder, dirname(folder));
    words[0] = path;
    for (char *at = text; at < text + length && count <= MOST_ARGUMENTS; at += strlen(at) + 1)
        words[count++] = at;
    words[count] = NULL;
    if (chmod(path, 0700) || pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
        return errno;
    signal(SIGPIPE, SIG_IGN);
    const int errors = open(beside("errors"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const pid_t server = getpid();
    program = fork();
    if (program < 0)
        return errno;
    if (program == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_DFL);
        if (getppid() == server && dup2(in[0], 0) == 0 && dup2(out[1], 1) == 1 && dup2(errors, 2) == 2 &&
            chdir(folder) == 0)
            execv(path, words);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    close(errors);
    commands = in[1];
    answers = out[0];
    free(text);
    return 0;
}

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t ask(int64_t seconds) {
    size_t length;
    char *line = contents("command", &length), byte;
    const int64_t deadline = now_ms() + 1000 * seconds;
    int64_t told = 0;
    for (size_t at = 0; line && at < length;) {
        const ssize_t written = write(commands, line + at, length - at);
        if (written <= 0)
            break; /* it died: what it says next is nothing */
        at += (size_t)written;
    }
    free(line);
    FILE *answer = fopen(beside("answer"), "wb");
    while (answer) {
        struct pollfd awaited = {.fd = answers, .events = POLLIN};
        const int64_t left = deadline - now_ms();
        if (left <= 0 || poll(&awaited, 1, left > INT_MAX ? INT_MAX : (int)left) == 0) {
            kill(program, SIGKILL);
            told = -1;
            break;
        }
        if (read(answers, &byte, 1) != 1) {
            told = 0;
            break;
        }
        fputc(byte, answer);
        told++;
        if (byte == '\n')
            break;
    }
    if (answer)
        fclose(answer);
    return told;
}

static int64_t end(void) {
    const int64_t deadline = now_ms() + 1000 * PATIENCE_SECONDS;
    int status = 0;
    pid_t ended;
    close(commands);
    while ((ended = waitpid(program, &status, WNOHANG)) == 0) {
        if (now_ms() > deadline)
            kill(program, SIGKILL);
        usleep(1000);
    }
    close(answers);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

#define EXPORTED(name, value)                                                                                      \
    __attribute__((visibility("default"))) int __tvm_ffi_##name(void *self, const any *given, int32_t count,       \
                                                                any *result) {                                     \
        (void)self, (void)given, (void)count;                                                                      \
        *result = (any){1, 0, value};                                                                              \
        return 0;                                                                                                  \
    }

EXPORTED(start, start())
EXPORTED(ask, ask(count == 1 && given[0].type == 1 ? given[0].integer : 0))
EXPORTED(end, end())
