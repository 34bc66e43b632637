/* The handlers of the routes. A handler reads from the call's session and sets the call's answer or
 * a problem, and returns ERR_OK; or it returns an error of the database. */
#ifndef BERTH_READER_HANDLERS_H
#define BERTH_READER_HANDLERS_H

#include "core/world.h"
#include "reader/call.h"

typedef enum err handler_fn(struct call *call, struct failure *f);

handler_fn handle_metrics, handle_healthz, handle_readyz, handle_openapi;
handler_fn handle_farm;
handler_fn handle_machines, handle_machine, handle_timeline;
handler_fn handle_bookings, handle_booking, handle_booking_decisions, handle_series;
handler_fn handle_decision, handle_partition_decisions;
handler_fn handle_availability, handle_usage;
handler_fn handle_events;
handler_fn handle_clients, handle_client;
/* The machine with that name. *found_out false: there is none, and the answer is that problem. */
enum err machine_find(struct call *call, const char *name, struct machine *out, bool *found_out,
                      struct failure *f);
/* Of the old API. */
handler_fn handle_flask_machines, handle_flask_machine, handle_flask_bookings, handle_flask_booking,
    handle_flask_shares, handle_flask_shares_of_machine, handle_flask_shares_of_booking;

#endif
