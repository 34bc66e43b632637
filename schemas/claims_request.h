/* The shapes of the requests, each of which decodes into struct request; only for schemas/claims*.c.
 */
#ifndef BERTH_SCHEMAS_CLAIMS_REQUEST_H
#define BERTH_SCHEMAS_CLAIMS_REQUEST_H

#include "schemas/decoder.h"

extern const struct shape claims_machine_register;
extern const struct shape claims_machine_update;
extern const struct shape claims_booking_create;
extern const struct shape claims_booking_amend;
extern const struct shape claims_booking_cancel;

#endif
