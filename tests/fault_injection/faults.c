/* Makes calls of the system fail for some paths; loaded with LD_PRELOAD. The environment says, at every call, which:
 *
 *   FAULT_PATH    a part of the paths that fail; without it nothing does
 *   FAULT_CALLS   of list, stat, open, read, write; each followed by a comma
 *   FAULT_ERRNO   a number
 *   FAULT_COUNT   a file of one 8-byte number, how many calls are still to fail, shared by all processes; negative: all
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int fails(const char *call, const char *path)
{
    const char *part = getenv("FAULT_PATH"), *calls = getenv("FAULT_CALLS"), *count = getenv("FAULT_COUNT");
    if (!part || !*part || !calls || !count || !path || !strstr(path, part) || !strstr(calls, call))
        return 0;
    int file = syscall(SYS_openat, AT_FDCWD, count, O_RDWR);
    if (file < 0)
        return 0;
    long *left = mmap(NULL, sizeof *left, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    syscall(SYS_close, file);
    if (left == MAP_FAILED)
        return 0;
    int now = *left < 0 || __sync_fetch_and_sub(left, 1) > 0;
    if (!now)
        *left = 0;
    munmap(left, sizeof *left);
    if (now)
        errno = atoi(getenv("FAULT_ERRNO"));
    return now;
}

static int fails_at(const char *call, int file)
{
    char link[64], path[4096];
    if (!getenv("FAULT_PATH"))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    long size = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (size <= 0)
        return 0;
    path[size] = 0;
    return fails(call, path);
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define OPEN(name)                                          \
    int name(const char *path, int flags, ...)              \
    {                                                       \
        va_list more;                                       \
        va_start(more, flags);                              \
        mode_t mode = va_arg(more, mode_t);                 \
        va_end(more);                                       \
        if (!(flags & O_DIRECTORY) && fails("open,", path)) \
            return -1;                                      \
        REAL(name);                                         \
        return real(path, flags, mode);                     \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                        \
    int name(int at, const char *path, int flags, ...)      \
    {                                                       \
        va_list more;                                       \
        va_start(more, flags);                              \
        mode_t mode = va_arg(more, mode_t);                 \
        va_end(more);                                       \
        if (!(flags & O_DIRECTORY) && fails("open,", path)) \
            return -1;                                      \
        REAL(name);                                         \
        return real(at, path, flags, mode);                 \
    }
OPENAT(openat)
OPENAT(openat64)

#define STAT(name, kind)                             \
    int name(const char *path, struct kind *status)  \
    {                                                \
        if (fails("stat,", path))                    \
            return -1;                               \
        REAL(name);                                  \
        return real(path, status);                   \
    }
STAT(stat, stat)
STAT(stat64, stat64)
STAT(lstat, stat)
STAT(lstat64, stat64)

#define STATAT(name, kind)                                                \
    int name(int at, const char *path, struct kind *status, int flags)   \
    {                                                                     \
        if (fails("stat,", path))                                         \
            return -1;                                                    \
        REAL(name);                                                       \
        return real(at, path, status, flags);                             \
    }
STATAT(fstatat, stat)
STATAT(fstatat64, stat64)

int statx(int at, const char *path, int flags, unsigned int mask, struct statx *status)
{
    if (fails("stat,", path))
        return -1;
    REAL(statx);
    return real(at, path, flags, mask, status);
}

struct dirent *readdir(DIR *folder)
{
    if (fails_at("list,", dirfd(folder)))
        return NULL;
    REAL(readdir);
    return real(folder);
}

struct dirent64 *readdir64(DIR *folder)
{
    if (fails_at("list,", dirfd(folder)))
        return NULL;
    REAL(readdir64);
    return real(folder);
}

#define AT_FILE(call, type, name, declared, used) \
    type name declared                            \
    {                                             \
        if (fails_at(call, file))                 \
            return -1;                            \
        REAL(name);                               \
        return real used;                         \
    }
AT_FILE("read,", ssize_t, read, (int file, void *to, size_t size), (file, to, size))
AT_FILE("read,", ssize_t, pread, (int file, void *to, size_t size, off_t begin), (file, to, size, begin))
AT_FILE("read,", ssize_t, pread64, (int file, void *to, size_t size, off64_t begin), (file, to, size, begin))
AT_FILE("write,", ssize_t, write, (int file, const void *of, size_t size), (file, of, size))
AT_FILE("write,", ssize_t, pwrite, (int file, const void *of, size_t size, off_t begin), (file, of, size, begin))
AT_FILE("write,", ssize_t, pwrite64, (int file, const void *of, size_t size, off64_t begin), (file, of, size, begin))
AT_FILE("write,", ssize_t, writev, (int file, const struct iovec *of, int count), (file, of, count))
