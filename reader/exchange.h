/* One HTTP request from its header to its end, as libmicrohttpd's callbacks. */
#ifndef BERTH_READER_EXCHANGE_H
#define BERTH_READER_EXCHANGE_H

#include <microhttpd.h>

/* The callback of MHD_OPTION_URI_LOG_CALLBACK; `reader` is a struct reader. Returns the request's
 * state, which libmicrohttpd keeps. The target is the URL as it came, not decoded. */
void *exchange_on_line(void *reader, const char *target, struct MHD_Connection *connection);
/* MHD_AccessHandlerCallback. */
enum MHD_Result exchange_on_request(void *reader, struct MHD_Connection *connection,
                                    const char *url, const char *method, const char *version,
                                    const char *upload_data, size_t *upload_data_size,
                                    void **request);
/* MHD_RequestCompletedCallback: the request has ended, one way or another. Frees *request. */
void exchange_on_completed(void *reader, struct MHD_Connection *connection, void **request,
                           enum MHD_RequestTerminationCode how);

#endif
