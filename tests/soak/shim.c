/* Stands between a process and the C library: what changes files below a watched folder is logged with its bytes,
 * and one call, or all from one on, can be refused. Knows nothing of what the files mean.
 *
 * cc -shared -fPIC -O1 -U_FORTIFY_SOURCE -o shim.so shim.c; LD_PRELOAD=shim.so, then soak_watch, soak_refuse and
 * soak_mark from the process itself, or the SOAK_ variables of `orders` from outside.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN = 1, WRITE, TRUNCATE, FSYNC, RENAME, UNLINK, MKDIR, RMDIR, MARK, UNKNOWN };

struct record {
    int32_t op, flag; /* of an OPEN: 1 if it created the file, 2 if it emptied it */
    int64_t offset, length;
    int32_t first, second; /* bytes of the paths that follow, then `length` bytes of a write or a mark */
};

static char root[PATH_MAX];
static size_t root_length;
static int log_file = -1, refusal_file = -1;
static long counted, refusals, refuse_at, refuse_errno, refuse_from_then_on;
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

/* Start a log. Calls that change something below `folder` are counted from 1 again. */
void soak_watch(const char *folder, const char *log) {
    if (log_file >= 0) syscall(SYS_close, log_file);
    int flags = O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC;
    log_file = *log ? syscall(SYS_openat, AT_FDCWD, log, flags, 0600) : -1;
    snprintf(root, sizeof root, "%s", folder);
    root_length = strlen(root);
    counted = refusals = refuse_at = 0;
}

/* Refuse call number `at` with `error`, and with `from_then_on` all later ones too. */
void soak_refuse(long at, long error, long from_then_on) {
    refuse_at = at, refuse_errno = error, refuse_from_then_on = from_then_on;
}

long soak_counted(void) { return counted; }
long soak_refusals(void) { return refusals; }

/* The same orders for a process that does not know of this file. */
__attribute__((constructor)) static void orders(void) {
    const char *folder = getenv("SOAK_FOLDER"), *at = getenv("SOAK_REFUSE"), *said = getenv("SOAK_REFUSED");
    if (!folder || !at) return;
    soak_watch(folder, "");
    refusal_file = syscall(SYS_openat, AT_FDCWD, said, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    soak_refuse(atol(at), atol(getenv("SOAK_ERROR")), atol(getenv("SOAK_LASTING")));
}

static int watched(const char *path) {
    return root_length && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

static int absolute(int folder, const char *path, char *out) {
    char base[PATH_MAX] = "";
    if (*path == '/') return snprintf(out, PATH_MAX, "%s", path) < PATH_MAX;
    if (folder == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) return 0;
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t got = readlink(link, base, sizeof base - 1);
        if (got < 0) return 0;
        base[got] = 0;
    }
    return snprintf(out, PATH_MAX, *path ? "%s/%s" : "%s", base, path) < PATH_MAX;
}

static int watched_file(int file, char *path) { return root_length && absolute(file, "", path) && watched(path); }

static void put(int32_t op, int32_t flag, int64_t offset, const char *first, const char *second, const void *bytes,
                int64_t length) {
    if (log_file < 0) return;
    struct record r = {op, flag, offset, length, strlen(first), strlen(second)};
    struct iovec parts[] = {{&r, sizeof r}, {(void *)first, r.first}, {(void *)second, r.second},
                            {(void *)bytes, bytes ? length : 0}};
    if (syscall(SYS_writev, log_file, parts, 4) < 0) abort();
}

/* Whether the call to `path` that is about to be made is to be refused. A full disk refuses what needs room and
 * nothing else. */
static int refused(int needs_room, const char *path) {
    counted++;
    int due = refuse_at && (counted == refuse_at || (refuse_from_then_on && counted > refuse_at));
    if (!due || (refuse_errno == ENOSPC && !needs_room)) return 0;
    refusals++;
    struct iovec line[] = {{(void *)path, strlen(path)}, {"\n", 1}};
    if (refusal_file >= 0 && syscall(SYS_writev, refusal_file, line, 2) < 0) abort();
    return refuse_errno;
}

#define ENTER pthread_mutex_lock(&one_at_a_time)
#define LEAVE(result) \
    do { int kept = errno; pthread_mutex_unlock(&one_at_a_time); errno = kept; return result; } while (0)

static int opened(int folder, const char *path, int flags, mode_t mode) {
    char where[PATH_MAX];
    if (!(flags & (O_WRONLY | O_RDWR)) || !absolute(folder, path, where) || !watched(where))
        return syscall(SYS_openat, folder, path, flags, mode);
    ENTER;
    struct stat status;
    int exists = !lstat(where, &status), file = -1, error = refused(!exists, where);
    if (error) errno = error;
    else file = syscall(SYS_openat, folder, path, flags, mode);
    error = file < 0 ? errno : 0;
    if (!error) put(OPEN, exists ? (flags & O_TRUNC ? 2 : 0) : 1, 0, where, "", 0, 0);
    errno = error;
    LEAVE(file);
}

#define OPENS(name, ...) \
    mode_t mode = 0; \
    va_list rest; \
    va_start(rest, flags); \
    if (flags & (O_CREAT | O_TMPFILE)) mode = va_arg(rest, int); \
    va_end(rest); \
    return opened(__VA_ARGS__, flags, mode)

int open(const char *path, int flags, ...) { OPENS(open, AT_FDCWD, path); }
int open64(const char *path, int flags, ...) { OPENS(open64, AT_FDCWD, path); }
int openat(int folder, const char *path, int flags, ...) { OPENS(openat, folder, path); }
int openat64(int folder, const char *path, int flags, ...) { OPENS(openat64, folder, path); }
int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode); }

static ssize_t really_written(int file, const void *bytes, size_t length, off_t offset, int positioned) {
    if (positioned) return syscall(SYS_pwrite64, file, bytes, length, offset);
    return syscall(SYS_write, file, bytes, length);
}

/* A write that is refused for want of room has taken half of its bytes before, as on a disk that fills up. */
static ssize_t written(int file, const void *bytes, size_t length, off_t offset, int positioned) {
    char path[PATH_MAX];
    if (!watched_file(file, path)) return really_written(file, bytes, length, offset, positioned);
    ENTER;
    int error = refused(1, path);
    if (error == ENOSPC && length > 1 && counted == refuse_at) length /= 2, error = 0, refuse_at++;
    ssize_t done = -1;
    if (error) errno = error;
    else done = really_written(file, bytes, length, offset, positioned);
    error = done < 0 ? errno : 0;
    if (!error && !positioned) offset = lseek(file, 0, SEEK_CUR) - done;
    if (!error) put(WRITE, 0, offset, path, "", bytes, done);
    errno = error;
    LEAVE(done);
}

ssize_t write(int file, const void *bytes, size_t length) { return written(file, bytes, length, 0, 0); }
ssize_t pwrite(int file, const void *bytes, size_t length, off_t offset) {
    return written(file, bytes, length, offset, 1);
}
ssize_t pwrite64(int file, const void *bytes, size_t length, off_t offset) {
    return written(file, bytes, length, offset, 1);
}

static int truncated(int file, off_t length) {
    char path[PATH_MAX];
    if (!watched_file(file, path)) return syscall(SYS_ftruncate, file, length);
    ENTER;
    int error = refused(0, path), result = -1;
    if (error) errno = error;
    else result = syscall(SYS_ftruncate, file, length);
    if (!result) put(TRUNCATE, 0, length, path, "", 0, 0);
    LEAVE(result);
}

int ftruncate(int file, off_t length) { return truncated(file, length); }
int ftruncate64(int file, off_t length) { return truncated(file, length); }

static int path_truncated(const char *path, off_t length) {
    int file = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (file < 0) return -1;
    int result = truncated(file, length), kept = errno;
    syscall(SYS_close, file);
    errno = kept;
    return result;
}

int truncate(const char *path, off_t length) { return path_truncated(path, length); }
int truncate64(const char *path, off_t length) { return path_truncated(path, length); }

static int synced(int file, long number) {
    char path[PATH_MAX];
    if (!watched_file(file, path)) return syscall(number, file);
    ENTER;
    int error = refused(1, path), result = -1;
    if (error) errno = error;
    else result = syscall(number, file);
    if (!result) put(FSYNC, 0, 0, path, "", 0, 0);
    LEAVE(result);
}

int fsync(int file) { return synced(file, SYS_fsync); }
int fdatasync(int file) { return synced(file, SYS_fdatasync); }

/* Calls that change names: `path` relative to the folder `from`, and the `other` of a rename relative to `to`. */
static int named(int op, int needs_room, int from, const char *path, int to, const char *other, mode_t mode,
                 int flags) {
    char where[PATH_MAX], target[PATH_MAX] = "";
    int known = absolute(from, path, where) && (!other || absolute(to, other, target));
    int ours = known && (watched(where) || (other && watched(target)));
    if (ours) ENTER;
    int error = ours ? refused(needs_room, where) : 0, result = -1;
    if (error) errno = error;
    else if (other) result = syscall(SYS_renameat2, from, path, to, other, flags);
    else if (op == MKDIR) result = syscall(SYS_mkdirat, from, path, mode);
    else result = syscall(SYS_unlinkat, from, path, flags);
    if (ours && !result) put(op, 0, 0, where, target, 0, 0);
    if (ours) LEAVE(result);
    return result;
}

int rename(const char *a, const char *b) { return named(RENAME, 1, AT_FDCWD, a, AT_FDCWD, b, 0, 0); }
int renameat(int f, const char *a, int t, const char *b) { return named(RENAME, 1, f, a, t, b, 0, 0); }
int renameat2(int f, const char *a, int t, const char *b, unsigned flags) {
    return named(flags ? UNKNOWN : RENAME, 1, f, a, t, b, 0, flags);
}
int unlink(const char *path) { return named(UNLINK, 0, AT_FDCWD, path, 0, 0, 0, 0); }
int unlinkat(int f, const char *path, int flags) {
    return named(flags & AT_REMOVEDIR ? RMDIR : UNLINK, 0, f, path, 0, 0, 0, flags);
}
int rmdir(const char *path) { return named(RMDIR, 0, AT_FDCWD, path, 0, 0, 0, AT_REMOVEDIR); }
int remove(const char *path) {
    int result = unlink(path);
    return result && errno == EISDIR ? rmdir(path) : result;
}
int mkdir(const char *path, mode_t mode) { return named(MKDIR, 1, AT_FDCWD, path, 0, 0, mode, 0); }
int mkdirat(int f, const char *path, mode_t mode) { return named(MKDIR, 1, f, path, 0, 0, mode, 0); }

/* Ways of changing a file that the replayer does not follow: they are logged, and the replayer refuses such a log. */
static void unknown(int file, const char *name) {
    char path[PATH_MAX];
    if (file < 0 || !watched_file(file, path)) return;
    ENTER;
    put(UNKNOWN, 0, 0, path, name, 0, 0);
    pthread_mutex_unlock(&one_at_a_time);
}

void *mmap(void *at, size_t length, int protection, int flags, int file, off_t offset) {
    if ((flags & MAP_SHARED) && (protection & PROT_WRITE)) unknown(file, "mmap");
    return (void *)syscall(SYS_mmap, at, length, protection, flags, file, offset);
}
void *mmap64(void *at, size_t length, int protection, int flags, int file, off_t offset) {
    return mmap(at, length, protection, flags, file, offset);
}
ssize_t writev(int file, const struct iovec *parts, int n) {
    unknown(file, "writev");
    return syscall(SYS_writev, file, parts, n);
}
ssize_t sendfile(int out, int in, off_t *offset, size_t n) {
    unknown(out, "sendfile");
    return syscall(SYS_sendfile, out, in, offset, n);
}
ssize_t sendfile64(int out, int in, off_t *offset, size_t n) { return sendfile(out, in, offset, n); }
ssize_t copy_file_range(int in, off_t *a, int out, off_t *b, size_t n, unsigned flags) {
    unknown(out, "copy_file_range");
    return syscall(SYS_copy_file_range, in, a, out, b, n, flags);
}
int fallocate(int file, int mode, off_t offset, off_t n) {
    unknown(file, "fallocate");
    return syscall(SYS_fallocate, file, mode, offset, n);
}
int fallocate64(int file, int mode, off_t offset, off_t n) { return fallocate(file, mode, offset, n); }

/* A remark of the watched program in its own log, such as "this line was acknowledged". */
void soak_mark(const char *text) {
    ENTER;
    put(MARK, 0, 0, "", "", text, strlen(text));
    pthread_mutex_unlock(&one_at_a_time);
}
