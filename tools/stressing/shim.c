/* Counts the calls of a process that write below a folder, and fails one of them (or all from one on) with a chosen errno.
   Loaded by LD_PRELOAD; stress_arm and stress_count are called through ctypes. Only calls on files below the folder count. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static char root[PATH_MAX];
static atomic_long count;
static long failing, lasting;
static int failure, log_fd = -1;

void stress_arm(const char *folder, long nth, int error, int from_then_on, int log) {
    failing = nth, failure = error, lasting = from_then_on, log_fd = log;
    atomic_store(&count, 0);
    strncpy(root, folder, sizeof root - 1);
}
long stress_count(void) { return atomic_load(&count); }

/* Whether this call fails. */
static int hit(const char *call, const char *path) {
    if (!root[0]) return 0;
    char whole[2 * PATH_MAX];
    if (path[0] != '/') {
        char here[PATH_MAX];
        if (syscall(SYS_getcwd, here, sizeof here) < 0) return 0;
        snprintf(whole, sizeof whole, "%s/%s", here, path), path = whole;
    }
    size_t length = strlen(root);
    if (strncmp(path, root, length) || (path[length] && path[length] != '/')) return 0;
    long number = atomic_fetch_add(&count, 1) + 1;
    if (log_fd >= 0) {
        char line[2 * PATH_MAX];
        int size = snprintf(line, sizeof line, "%s %s\n", call, path[length] ? path + length + 1 : ".");
        syscall(SYS_write, log_fd, line, size);
    }
    if (failing && (number == failing || (lasting && number > failing))) {
        errno = failure;
        return 1;
    }
    return 0;
}

static int hit_fd(const char *call, int fd) {
    if (!root[0] || fd < 0) return 0;
    int before = errno, flags = fcntl(fd, F_GETFL);
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = flags < 0 ? -1 : readlink(link, path, sizeof path - 1);
    errno = before;
    if (size < 0 || path[0] != '/') return 0; /* pipes and sockets are on no disk */
    path[size] = 0;
    if ((flags & O_ACCMODE) == O_RDONLY && strcmp(call, "fsync")) return 0; /* folders are synchronised though only read */
    return hit(call, path);
}

static int hit_at(const char *call, int folder, const char *path) {
    if (path[0] == '/' || folder == AT_FDCWD) return hit(call, path);
    char link[64], whole[2 * PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t size = readlink(link, whole, PATH_MAX);
    if (size < 0) return 0;
    snprintf(whole + size, sizeof whole - size, "/%s", path);
    return hit(call, whole);
}

#define REAL(name) ({ static typeof(&name) real; if (!real) real = dlsym(RTLD_NEXT, #name); real; })
#define WRITES(flags) (((flags) & O_ACCMODE) != O_RDONLY || ((flags) & (O_CREAT | O_TRUNC)))
#define MODE va_list rest; va_start(rest, flags); mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; va_end(rest)

#define OPEN(name) int name(const char *path, int flags, ...) { \
    MODE; return WRITES(flags) && hit("open", path) ? -1 : REAL(name)(path, flags, mode); }
OPEN(open) OPEN(open64)
#define OPENAT(name) int name(int folder, const char *path, int flags, ...) { \
    MODE; return WRITES(flags) && hit_at("open", folder, path) ? -1 : REAL(name)(folder, path, flags, mode); }
OPENAT(openat) OPENAT(openat64)
#define CREAT(name) int name(const char *path, mode_t mode) { return hit("open", path) ? -1 : REAL(name)(path, mode); }
CREAT(creat) CREAT(creat64)
#define FOPEN(name) FILE *name(const char *path, const char *mode) { \
    return strpbrk(mode, "wa+") && hit("open", path) ? NULL : REAL(name)(path, mode); }
FOPEN(fopen) FOPEN(fopen64)

#define ON_FD(type, name, call, parameters, arguments) type name parameters { \
    return hit_fd(call, fd) ? -1 : REAL(name) arguments; }
ON_FD(ssize_t, write, "write", (int fd, const void *data, size_t size), (fd, data, size))
ON_FD(ssize_t, pwrite, "pwrite", (int fd, const void *data, size_t size, off_t place), (fd, data, size, place))
ON_FD(ssize_t, pwrite64, "pwrite", (int fd, const void *data, size_t size, off64_t place), (fd, data, size, place))
ON_FD(ssize_t, writev, "writev", (int fd, const struct iovec *parts, int number), (fd, parts, number))
ON_FD(ssize_t, pwritev, "pwritev", (int fd, const struct iovec *parts, int number, off_t place), (fd, parts, number, place))
ON_FD(int, ftruncate, "ftruncate", (int fd, off_t size), (fd, size))
ON_FD(int, ftruncate64, "ftruncate", (int fd, off64_t size), (fd, size))
ON_FD(int, fsync, "fsync", (int fd), (fd))
ON_FD(int, fdatasync, "fsync", (int fd), (fd))
ON_FD(int, fchmod, "chmod", (int fd, mode_t mode), (fd, mode))
ON_FD(int, fallocate, "fallocate", (int fd, int how, off_t start, off_t size), (fd, how, start, size))
ON_FD(int, fallocate64, "fallocate", (int fd, int how, off64_t start, off64_t size), (fd, how, start, size))
ON_FD(ssize_t, copy_file_range, "copy_file_range", (int from, off64_t *a, int fd, off64_t *b, size_t size, unsigned flags),
      (from, a, fd, b, size, flags))
ON_FD(ssize_t, sendfile, "sendfile", (int fd, int from, off_t *start, size_t size), (fd, from, start, size))
ON_FD(ssize_t, sendfile64, "sendfile", (int fd, int from, off64_t *start, size_t size), (fd, from, start, size))
/* These return the error instead of setting errno. */
#define ALLOCATE(name, type) int name(int fd, type start, type size) { \
    return hit_fd("fallocate", fd) ? failure : REAL(name)(fd, start, size); }
ALLOCATE(posix_fallocate, off_t) ALLOCATE(posix_fallocate64, off64_t)

int close(int fd) { /* a file is closed even where that fails */
    int failed = hit_fd("close", fd), result = REAL(close)(fd);
    if (failed) { errno = failure; return -1; }
    return result;
}
/* The C library's own buffered files call the kernel by another way than the functions above. */
size_t fwrite(const void *data, size_t size, size_t number, FILE *file) {
    return hit_fd("fwrite", fileno(file)) ? 0 : REAL(fwrite)(data, size, number, file);
}
int fflush(FILE *file) { return file && hit_fd("fflush", fileno(file)) ? EOF : REAL(fflush)(file); }
int fclose(FILE *file) {
    int failed = hit_fd("fclose", fileno(file)), result = REAL(fclose)(file);
    if (failed) { errno = failure; return EOF; }
    return result;
}

#define ON_PATH(name, call, parameters, arguments) int name parameters { return hit(call, path) ? -1 : REAL(name) arguments; }
ON_PATH(mkdir, "mkdir", (const char *path, mode_t mode), (path, mode))
ON_PATH(truncate, "ftruncate", (const char *path, off_t size), (path, size))
ON_PATH(truncate64, "ftruncate", (const char *path, off64_t size), (path, size))
ON_PATH(chmod, "chmod", (const char *path, mode_t mode), (path, mode))
int mkdirat(int folder, const char *path, mode_t mode) {
    return hit_at("mkdir", folder, path) ? -1 : REAL(mkdirat)(folder, path, mode);
}
int rename(const char *from, const char *to) { return hit("rename", to) ? -1 : REAL(rename)(from, to); }
int renameat(int a, const char *from, int b, const char *to) {
    return hit_at("rename", b, to) ? -1 : REAL(renameat)(a, from, b, to);
}
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
    return hit_at("rename", b, to) ? -1 : REAL(renameat2)(a, from, b, to, flags);
}
int link(const char *from, const char *to) { return hit("link", to) ? -1 : REAL(link)(from, to); }
int linkat(int a, const char *from, int b, const char *to, int flags) {
    return hit_at("link", b, to) ? -1 : REAL(linkat)(a, from, b, to, flags);
}
int symlink(const char *from, const char *to) { return hit("link", to) ? -1 : REAL(symlink)(from, to); }
