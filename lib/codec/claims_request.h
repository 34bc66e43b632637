/* The shapes of the requests; each decodes into struct request. For lib/codec/claims*.c. */
#ifndef BERTH_LIB_CODEC_CLAIMS_REQUEST_H
#define BERTH_LIB_CODEC_CLAIMS_REQUEST_H

#include "lib/codec/decoder.h"

extern const struct shape claims_machine_register;
extern const struct shape claims_machine_update;
extern const struct shape claims_booking_create;
extern const struct shape claims_booking_amend;
extern const struct shape claims_booking_cancel;

#endif
