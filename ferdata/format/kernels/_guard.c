/* A mapped file that is cut has no pages behind its new end, and a failing disk has none to give: touching one is
 * SIGBUS, which kills the process. Here the handler puts zeros where the rest of the file was and notes it, so whoever
 * reads goes on, whatever library that is, and looks at the note afterwards. Other bus errors go to the handler that
 * was there before. */
#define _DEFAULT_SOURCE 1
#define _DARWIN_C_SOURCE 1
#include "_native.h"

#if defined(__GNUC__) && !defined(_WIN32)
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_GUARDS = 1 << 14, CLAIMED = 1 };

typedef struct {
    int32_t cut;           /* whether a page was missing; first, since Python looks at it by the guard's address */
    uintptr_t start, stop; /* start is 0 where the guard is free, CLAIMED while it is being set */
} Guard;

static Guard guards[MAX_GUARDS];
static struct sigaction before; /* what was there when the handler was put in place */
static int passed_on;
static uintptr_t page_bytes;

/* Let the handler that was there before have it; where that one hands it back, the system's own ends the process. */
static void pass_on(const siginfo_t *info) {
    struct sigaction fallback = {0};
    fallback.sa_handler = SIG_DFL;
    sigaction(SIGBUS, passed_on ? &fallback : &before, NULL);
    passed_on = 1;
    if (info->si_code <= 0) raise(SIGBUS); /* somebody sent it; a fault comes again by itself */
}

static void on_bus_error(int number, siginfo_t *info, void *context) {
    const int error = errno;
    const uintptr_t at = (uintptr_t)info->si_addr;
    (void)number, (void)context;
    for (int i = 0; i < MAX_GUARDS && info->si_code > 0; i++) {
        const uintptr_t start = __atomic_load_n(&guards[i].start, __ATOMIC_ACQUIRE), stop = guards[i].stop;
        if (start <= CLAIMED || at < start || at >= stop) continue;
        /* To the end at once: every page apart would be a mapping of its own, and those are numbered. */
        void *const page = (void *)(at & ~(page_bytes - 1));
        const int zeros = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
        if (mmap(page, stop - (uintptr_t)page, PROT_READ, zeros, -1, 0) == MAP_FAILED) break;
        __atomic_store_n(&guards[i].cut, 1, __ATOMIC_RELEASE);
        errno = error;
        return;
    }
    pass_on(info);
    errno = error;
}

/* Returns the guard of a mapping, for unguard and to look at its first 32 bits, or NULL where there is none left. */
FERDATA_API void *ferdata_guard(const uint8_t *start, int64_t bytes) {
    struct sigaction now, ours = {0};
    if (sigaction(SIGBUS, NULL, &now)) return NULL;
    if (!(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != on_bus_error) { /* torch and faulthandler have their own */
        page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
        before = now;
        passed_on = 0;
        ours.sa_sigaction = on_bus_error;
        ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigemptyset(&ours.sa_mask);
        if (sigaction(SIGBUS, &ours, NULL)) return NULL;
    }
    for (int i = 0; i < MAX_GUARDS; i++) {
        uintptr_t expected = 0;
        if (!__atomic_compare_exchange_n(&guards[i].start, &expected, CLAIMED, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            continue;
        guards[i].cut = 0;
        guards[i].stop = ((uintptr_t)start + (uintptr_t)bytes + page_bytes - 1) & ~(page_bytes - 1);
        __atomic_store_n(&guards[i].start, (uintptr_t)start, __ATOMIC_RELEASE);
        return &guards[i];
    }
    return NULL;
}

/* Before the mapping goes: its addresses may be somebody else's next. */
FERDATA_API void ferdata_unguard(void *guard) { __atomic_store_n(&((Guard *)guard)->start, 0, __ATOMIC_RELEASE); }

#else
FERDATA_API void *ferdata_guard(const uint8_t *start, int64_t bytes) {
    (void)start, (void)bytes;
    return NULL;
}
FERDATA_API void ferdata_unguard(void *guard) { (void)guard; }
#endif
