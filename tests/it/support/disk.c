// Preloaded into the program: records what it does to the database and its write-ahead log, in the
// file that DISK_RECORD names. `disk.rs` reads it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITTEN, TRUNCATED, SYNC_BEGINS, SYNCED };
enum { DATABASE, LOG, OTHER };

struct head {
    uint32_t what, file, thread, unused;
    uint64_t at, length;
};

static int record = -1;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("DISK_RECORD");
    if (path) record = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static int ends_with(const char *path, size_t length, const char *end) {
    size_t n = strlen(end);
    return length >= n && !memcmp(path + length - n, end, n);
}

static int file_of(int fd) {
    struct stat is;
    char link[64], path[4096];
    if (record < 0 || fstat(fd, &is) || !S_ISREG(is.st_mode)) return OTHER;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path);
    if (n < 0) return OTHER;
    if (ends_with(path, n, "/bookbell.db")) return DATABASE;
    return ends_with(path, n, "/bookbell.db-wal") ? LOG : OTHER;
}

// In one piece, which nothing that another thread records comes between.
static void note(uint32_t what, int file, uint64_t at, const void *data, uint64_t length) {
    struct head head = { what, file, gettid(), 0, at, length };
    struct iovec parts[] = { { &head, sizeof head }, { (void *)data, data ? length : 0 } };
    ssize_t whole = sizeof head + parts[1].iov_len;
    if (file != OTHER && writev(record, parts, 2) != whole) abort();
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

// Recorded when it is done, and so before a sync that covers it begins.
ssize_t write(int fd, const void *data, size_t length) {
    static __typeof__(&write) real;
    if (!real) real = REAL(write);
    int file = file_of(fd);
    off64_t at = file == OTHER ? 0 : lseek64(fd, 0, SEEK_CUR);
    ssize_t written = real(fd, data, length);
    if (written > 0) note(WRITTEN, file, at, data, written);
    return written;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at) {
    static __typeof__(&pwrite64) real;
    if (!real) real = REAL(pwrite64);
    ssize_t written = real(fd, data, length, at);
    if (written > 0) note(WRITTEN, file_of(fd), at, data, written);
    return written;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t at) {
    return pwrite64(fd, data, length, at);
}

int ftruncate64(int fd, off64_t length) {
    int done = REAL(ftruncate64)(fd, length);
    if (!done) note(TRUNCATED, file_of(fd), length, NULL, 0);
    return done;
}

int ftruncate(int fd, off_t length) {
    return ftruncate64(fd, length);
}

static int sync_with(int (*real)(int), int fd) {
    int file = file_of(fd);
    note(SYNC_BEGINS, file, 0, NULL, 0);
    int done = real(fd);
    if (!done) note(SYNCED, file, 0, NULL, 0);
    return done;
}

int fsync(int fd) { return sync_with(REAL(fsync), fd); }
int fdatasync(int fd) { return sync_with(REAL(fdatasync), fd); }
