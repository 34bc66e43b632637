/* When something is free: the core's timelines, kept between calls as a worker keeps them. */
#ifndef BERTH_READER_AVAILABILITY_H
#define BERTH_READER_AVAILABILITY_H

struct availability;

/* Nothing is loaded yet. Never NULL. All threads of a server may share it. */
struct availability *availability_new(void);
void availability_free(struct availability *availability);

#endif
