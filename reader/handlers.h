/* What the routes answer. Each reads in the call's snapshot and fills the call's answer; an error
 * is the database's. */
#ifndef BERTH_READER_HANDLERS_H
#define BERTH_READER_HANDLERS_H

#include "reader/call.h"

typedef enum err handler_fn(struct call *call, struct failure *f);

handler_fn handle_farm;
handler_fn handle_machines, handle_machine;
handler_fn handle_bookings, handle_booking;
handler_fn handle_decision;

#endif
