/* Errors of everything that does I/O. A rejection is not an error (core/reason.h).
 *
 * A function that can fail returns enum err and takes a struct failure, in which it leaves one
 * line for a person: what was being done, outermost first ("load timelines: execute: deadlock").
 * Callers branch on the class (err_is_…), and log the text once, where they handle it. */
#ifndef BERTH_LIB_BASE_ERR_H
#define BERTH_LIB_BASE_ERR_H

#include <stdbool.h>

#define ERR_TABLE(X)                                                                               \
    X(OK, "ok")                                                                                    \
    X(FAILED, "failed")                                                                            \
    X(USAGE, "wrong usage")                                                                        \
    X(CONFIG, "wrong configuration")                                                               \
    X(NOT_FOUND, "not found")                                                                      \
    X(TIMEOUT, "timed out")                                                                        \
    X(IO, "input or output failed")                                                                \
    X(INTERRUPTED, "interrupted by a signal")                                                      \
    X(DB_DEADLOCK, "deadlock")                                                                     \
    X(DB_LOCK_TIMEOUT, "lock wait timed out")                                                      \
    X(DB_DUPLICATE, "duplicate key")                                                               \
    X(DB_CONNECTION, "no connection to the database")                                              \
    X(DB_COMMIT_UNKNOWN, "connection lost in COMMIT: the outcome is not known")                    \
    X(DB_SERVER, "the database server refuses (disk full, read-only, too many connections)")       \
    X(DB_SCHEMA, "the database is not at this program's schema version")                           \
    X(DB_ERROR, "database error")                                                                  \
    X(EPOCH_LOST, "another worker owns the partition")                                             \
    X(FARM_HALTED, "the farm is halted")                                                           \
    X(PARTITION_HALTED, "the partition is halted")                                                 \
    X(WORLD_GREW, "rows appeared that were not locked: lock again")                                \
    X(KEYS_CHANGED, "the clients' keys changed: authenticate again")                               \
    X(LOG_TRANSPORT, "Kafka cannot be reached")                                                    \
    X(LOG_FULL, "the producer's queue is full")                                                    \
    X(LOG_FATAL, "the Kafka client failed for good and must be made anew")                         \
    X(LOG_TOPIC, "a topic is missing or not as it should be")                                      \
    X(LOG_ERROR, "Kafka error")

enum err {
#define ERR_ENUM(id, text) ERR_##id,
    ERR_TABLE(ERR_ENUM)
#undef ERR_ENUM
        ERR_COUNT
};

#define FAILURE_TEXT_LEN 1024

struct failure {
    enum err err;
    int halt_cause; /* of ERR_PARTITION_HALTED and ERR_FARM_HALTED: enum halt_cause (db/halt.h) */
    char text[FAILURE_TEXT_LEN]; /* cut at the end when it does not fit */
};

/* Sets the failure and returns err: `return failure_set(f, ERR_IO, "open %s: %s", path, …)`.
 * f may be NULL. */
enum err failure_set(struct failure *f, enum err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts "context: " before the text and returns the error that was set. */
enum err failure_wrap(struct failure *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

const char *err_name(enum err err); /* "db_deadlock": for logs and metrics */
const char *err_text(enum err err); /* a phrase */

/* The transaction rolled back, or was never begun, and may be tried again as it is. */
bool err_is_retryable(enum err err);
/* The database session is gone or not to be trusted: connect again first. */
bool err_is_connection(enum err err);

/* Exit codes of all programs. */
enum exit_code {
    EXIT_CODE_OK = 0,
    EXIT_CODE_FAILURE = 1,
    EXIT_CODE_USAGE = 2,
    EXIT_CODE_REJECTED = 3,
    EXIT_CODE_NO_DECISION = 4,
    EXIT_CODE_NOT_FOUND = 5,
    EXIT_CODE_DIFFERENCES = 6,
    EXIT_CODE_SIGINT = 130,
    EXIT_CODE_SIGTERM = 143
};
/* ERR_USAGE and ERR_CONFIG give 2, ERR_NOT_FOUND 5, ERR_TIMEOUT 4, ERR_OK 0, others 1. */
enum exit_code err_exit_code(enum err err);

#endif
