/* Fibers: one worker process of the simulation each. A fiber runs until it yields, and a crash is
 * simply never resuming it, wherever it stands. */
#ifndef BERTH_TESTS_SIMULATION_FIBER_H
#define BERTH_TESTS_SIMULATION_FIBER_H

#include <stdbool.h>

struct fiber;
typedef void fiber_fn(void *arg);

/* Does not start it. Borrows arg. */
struct fiber *fiber_new(fiber_fn *fn, void *arg);
/* Gives the stack back; what the fiber held on its stack is leaked if it has not ended. Not from
 * within the fiber. NULL is fine. */
void fiber_free(struct fiber *fiber);
/* Runs it until it yields or ends. Returns whether it can be resumed again. Not from a fiber. */
bool fiber_resume(struct fiber *fiber);
/* Back to who resumed the running fiber. */
void fiber_yield(void);
/* NULL: no fiber runs. */
struct fiber *fiber_running(void);

#endif
