#include "tests/simulation/fiber.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "lib/base/mem.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define FIBER_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define FIBER_TSAN 1
#endif

#ifdef FIBER_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define STACK_BYTES (1024 * 1024)
#else
#define STACK_BYTES (256 * 1024)
#endif
#ifdef FIBER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

/* Stacks that are kept for the next fiber. */
#define SPARE_MAX 16

struct fiber {
    ucontext_t context, caller;
    void *stack;
    fiber_fn *fn;
    void *arg;
    bool ended;
    void *fake_stack;         /* ASan's, while the fiber is away */
    const void *caller_stack; /* where to go back to, for ASan */
    size_t caller_stack_size;
    void *tsan, *tsan_caller;
};

static struct fiber *running;
static void *spare[SPARE_MAX];
static size_t spare_count;

static void *stack_take(void)
{
    if (spare_count > 0)
        return spare[--spare_count];
    void *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                       0);
    assert(stack != MAP_FAILED);
    return stack;
}

static void stack_give(void *stack)
{
#ifdef FIBER_ASAN
    __asan_unpoison_memory_region(stack, STACK_BYTES);
#endif
    if (spare_count < SPARE_MAX) {
        spare[spare_count++] = stack;
    } else {
        munmap(stack, STACK_BYTES);
    }
}

/* --- what the sanitizers want to know about every change of stacks --- */

static void leave_caller(struct fiber *fiber, void **fake)
{
#ifdef FIBER_ASAN
    __sanitizer_start_switch_fiber(fake, fiber->stack, STACK_BYTES);
#endif
#ifdef FIBER_TSAN
    fiber->tsan_caller = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(fiber->tsan, 0);
#endif
    (void)fiber, (void)fake;
}

static void back_in_caller(void *fake)
{
#ifdef FIBER_ASAN
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
    (void)fake;
}

static void leave_fiber(struct fiber *fiber, bool for_good)
{
#ifdef FIBER_ASAN
    __sanitizer_start_switch_fiber(for_good ? NULL : &fiber->fake_stack, fiber->caller_stack,
                                   fiber->caller_stack_size);
#endif
#ifdef FIBER_TSAN
    __tsan_switch_to_fiber(fiber->tsan_caller, 0);
#endif
    (void)fiber, (void)for_good;
}

static void in_fiber(struct fiber *fiber)
{
#ifdef FIBER_ASAN
    __sanitizer_finish_switch_fiber(fiber->fake_stack, &fiber->caller_stack,
                                    &fiber->caller_stack_size);
#endif
    (void)fiber;
}

/* --- the fibers --- */

static void start(void)
{
    struct fiber *fiber = running;
    in_fiber(fiber);
    fiber->fn(fiber->arg);
    fiber->ended = true;
    leave_fiber(fiber, true);
    setcontext(&fiber->caller);
}

struct fiber *fiber_new(fiber_fn *fn, void *arg)
{
    struct fiber *fiber = xcalloc(1, sizeof(*fiber));
    fiber->stack = stack_take();
    fiber->fn = fn;
    fiber->arg = arg;
#ifdef FIBER_TSAN
    fiber->tsan = __tsan_create_fiber(0);
#endif
    int failed = getcontext(&fiber->context);
    assert(!failed);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&fiber->context, start, 0);
    return fiber;
}

void fiber_free(struct fiber *fiber)
{
    if (!fiber)
        return;
    assert(fiber != running);
#ifdef FIBER_TSAN
    __tsan_destroy_fiber(fiber->tsan);
#endif
    stack_give(fiber->stack);
    free(fiber);
}

bool fiber_resume(struct fiber *fiber)
{
    void *fake = NULL;
    assert(!running && !fiber->ended);
    running = fiber;
    leave_caller(fiber, &fake);
    swapcontext(&fiber->caller, &fiber->context);
    back_in_caller(fake);
    running = NULL;
    return !fiber->ended;
}

void fiber_yield(void)
{
    struct fiber *fiber = running;
    assert(fiber);
    leave_fiber(fiber, false);
    swapcontext(&fiber->context, &fiber->caller);
    in_fiber(fiber);
}

struct fiber *fiber_running(void)
{
    return running;
}
