/* Errors of everything that does I/O. A rejection is not an error (core/reason.h).
 *
 * A function that can fail returns enum err and takes a struct failure, in which it leaves one
 * line for a person: what was being done, outermost first ("load timelines: execute: deadlock"). Text
 * in it that came from outside has its visible form (core/utf8.h).
 * Callers branch on the class (err_is_…), and log the text once, where they handle it. */
#ifndef BERTH_LIB_BASE_ERR_H
#define BERTH_LIB_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>

/* The error, and its name in logs and metrics. */
#define ERR_TABLE(X)                                                                               \
    X(OK, "ok")                                                                                    \
    X(FAILED, "failed")                                                                            \
    X(USAGE, "usage")                                                                              \
    X(CONFIG, "config")                                                                            \
    X(NOT_FOUND, "not_found")                                                                      \
    X(TIMEOUT, "timeout")                                                                          \
    X(IO, "io")                                                                                    \
    X(INTERRUPTED, "interrupted") /* interrupted by a signal */                                    \
    X(DB_DEADLOCK, "db_deadlock")                                                                  \
    X(DB_LOCK_TIMEOUT, "db_lock_timeout")                                                          \
    X(DB_DUPLICATE, "db_duplicate")                                                                \
    X(DB_CONNECTION, "db_connection")         /* no connection to the database */                  \
    X(DB_COMMIT_UNKNOWN, "db_commit_unknown") /* connection lost in COMMIT: outcome unknown */     \
    X(DB_SERVER, "db_server")                 /* server refuses: full, read-only, too busy */      \
    X(DB_SCHEMA, "db_schema")                 /* another schema version than this program */       \
    X(DB_ERROR, "db_error")                                                                        \
    X(EPOCH_LOST, "epoch_lost") /* another worker owns the partition */                            \
    X(FARM_HALTED, "farm_halted")                                                                  \
    X(PARTITION_HALTED, "partition_halted")                                                        \
    X(WORLD_GREW, "world_grew")       /* rows appeared that are not locked */                      \
    X(KEYS_CHANGED, "keys_changed")   /* keys changed: authenticate again */                       \
    X(LOG_TRANSPORT, "log_transport") /* Kafka cannot be reached */                                \
    X(LOG_FULL, "log_full")           /* the producer's queue is full */                           \
    X(LOG_FATAL, "log_fatal")         /* the Kafka client must be opened anew */                   \
    X(LOG_TOPIC, "log_topic")         /* a topic is missing or misconfigured */                    \
    X(LOG_DENIED, "log_denied")       /* Kafka denies access */                                    \
    X(LOG_TOO_LARGE, "log_too_large") /* a message is too large for its topic */                   \
    X(LOG_ERROR, "log_error")

enum err {
#define ERR_ENUM(id, name) ERR_##id,
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
enum err failure_vset(struct failure *f, enum err err, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));
/* Puts "context: " before the text and returns the error that was set. */
enum err failure_wrap(struct failure *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

const char *err_name(enum err err); /* "db_deadlock" */

/* The transaction was rolled back or never begun, and may be retried unchanged. */
bool err_is_retryable(enum err err);
/* The database session is lost or in doubt: connect again first. */
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
