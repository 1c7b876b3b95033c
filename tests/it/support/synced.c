// Preloaded into the program: notes for each file how long it was when it was last synced to disk,
// which is what a power loss would leave of a file that only grows.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void note(int fd, long long length) {
    char link[64], path[4096], line[4224];
    const char *notes = getenv("SYNCED_NOTES");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (!notes || n < 0) return;
    path[n] = 0;
    int out = open(notes, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (out < 0) return;
    int size = snprintf(line, sizeof line, "%lld %s\n", length, path);
    if (write(out, line, size) != size) abort();
    close(out);
}

static int sync_with(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    struct stat before;
    int known = fstat(fd, &before) == 0;
    int result = real(fd);
    if (known && result == 0) note(fd, before.st_size);
    return result;
}

int fsync(int fd) { return sync_with("fsync", fd); }
int fdatasync(int fd) { return sync_with("fdatasync", fd); }
