/* schemas/openapi.json, as the reader answers it. */
#ifndef BERTH_SCHEMAS_OPENAPI_H
#define BERTH_SCHEMAS_OPENAPI_H

#include <stddef.h>

extern const char openapi_json[]; /* with a NUL behind it */
extern const size_t openapi_json_len;

#endif
