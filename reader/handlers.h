/* What the routes answer. Each reads in the call's snapshot and fills the call's answer; an error
 * is the database's. */
#ifndef BERTH_READER_HANDLERS_H
#define BERTH_READER_HANDLERS_H

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
/* The old API's. */
handler_fn handle_flask_machines, handle_flask_machine, handle_flask_bookings, handle_flask_booking,
    handle_flask_shares, handle_flask_shares_of_machine, handle_flask_shares_of_booking;

#endif
