/* Preloaded into a program: removes the offset from delivery reports, like librdkafka when the
 * broker answers only that it already has the message. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <librdkafka/rdkafka.h>

typedef void report_fn(rd_kafka_t *client, const rd_kafka_message_t *message, void *arg);

static report_fn *own;

static void without_offset(rd_kafka_t *client, const rd_kafka_message_t *message, void *arg)
{
    rd_kafka_message_t changed = *message;
    changed.offset = RD_KAFKA_OFFSET_INVALID;
    own(client, &changed, arg);
}

void rd_kafka_conf_set_dr_msg_cb(rd_kafka_conf_t *conf, report_fn *callback)
{
    void (*real)(rd_kafka_conf_t *, report_fn *);
    *(void **)&real = dlsym(RTLD_NEXT, "rd_kafka_conf_set_dr_msg_cb");
    own = callback;
    real(conf, without_offset);
}
