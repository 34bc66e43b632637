/* What the commands of `berth` share. The table in cli/commands.c drives dispatch, --help,
 * completion and docs/cli.md. */
#ifndef BERTH_CLI_CLI_H
#define BERTH_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/base/cli_time.h"
#include "lib/base/err.h"
#include "lib/codec/problem.h"
#include "lib/config/config.h"
#include "lib/config/options.h"
#include "lib/print/table.h"
#include <berth.h>

enum cli_format { CLI_TEXT, CLI_JSON, CLI_TSV, CLI_FORMAT_COUNT };

struct cli;

/* Runs a command; returns the exit code. */
typedef int cli_command_run(struct cli *cli);

struct cli_command {
    struct command_spec spec; /* the name begins with "berth " */
    const char *summary;      /* for the list of commands */
    enum cli_format format;   /* without -o */
    bool sends;               /* sends requests, and takes the options for that */
    cli_command_run *run;
};

/* One run of one command. */
struct cli {
    const struct cli_command *command;
    struct options before, after; /* options before and after the command's name */
    struct config *cfg;
    enum cli_format format;
    bool json_problems; /* -o json: problems are objects on stdout */
    bool headers;       /* of tables */
    bool quiet;
    bool silent;  /* no problems either: for completion */
    bool hurries; /* waits two seconds for the reader */
    int verbose;
    const char *zone;            /* --tz, or else --zone; NULL: the system's */
    int64_t now_ms;              /* when the command began */
    char *user;                  /* the user of requests */
    struct berth_client *client; /* cli_client; closed at the end */
};

/* commands.c */
extern const struct cli_command cli_commands[];
extern const size_t cli_command_count;
extern const struct command_spec cli_program; /* "berth" itself: options before the command */
/* The command that the words ("machine", "add") begin with; *used is the number of words in its
 * name. NULL: unknown; the failure names the nearest command. */
const struct cli_command *cli_command_find(const char *const *words, size_t count, size_t *used,
                                           struct failure *f);
void cli_print_help(FILE *out);
/* The text of docs/cli.md; a test compares it with the file. */
void cli_print_markdown(FILE *out);

/* run.c: options, configuration, the client */
/* Parses argv and runs the command; returns the exit code. */
int cli_main(int argc, char **argv);
bool cli_has(const struct cli *cli, const char *option);
/* The value given last; NULL: none. */
const char *cli_value(const struct cli *cli, const char *option);
/* Opens the client, once. NULL: the problem was reported; exit with *code. */
struct berth_client *cli_client(struct cli *cli, int *code);
/* The user of requests: --user, else client.user, else the account's name. */
const char *cli_user(struct cli *cli);
/* The --label options as an object, a new reference; NULL: none given. ERR_USAGE. */
enum err cli_labels(const struct cli *cli, json_t **labels_out, struct failure *f);
/* The time that the option gives; 0: not given. ERR_USAGE. */
enum err cli_moment(const struct cli *cli, const char *option, int64_t *ms_out, struct failure *f);
/* --from and --to; 0: not given. Prints on stderr how they were understood. ERR_USAGE. */
enum err cli_from_to(const struct cli *cli, int64_t *from_ms, int64_t *to_ms, struct failure *f);
/* The time to wait for decisions; negative: do not wait. ERR_USAGE. */
enum err cli_wait_ms(const struct cli *cli, int64_t *ms_out, struct failure *f);
/* The signal that asked to stop; 0: none. */
int cli_signal(void);

/* report.c: messages, problems */
/* "berth: text" on stderr, unless -q. */
void cli_note(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints a problem: as text on stderr, with -o json as a problem object on stdout. Takes `extra`
 * (more members, or NULL). Returns code. */
int cli_problem(const struct cli *cli, int code, const struct problem *problem, json_t *extra);
/* The same for a failure; the exit code follows from its error (err_exit_code). */
int cli_fail(const struct cli *cli, const struct failure *f);
/* The same for a mistake in the command line. */
int cli_usage(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for an error of libberth. request_id may be NULL. */
int cli_fail_client(const struct cli *cli, const struct berth_error *error, const char *request_id);
int cli_exit_code_of(enum berth_status status);
enum problem_code cli_problem_code_of(enum berth_status status);
/* Prints one JSON value and a newline on stdout. */
void cli_print_json(const json_t *value);

/* The names of the columns, in TSV and without --no-headers only. */
void cli_print_header(const struct cli *cli, const struct table_column *columns);
/* For columns: "accepted" of "berth.request.accepted"; caller frees. */
char *cli_last_word(const json_t *type);

/* show.c: how things look */
/* Print a booking or a machine, an object of an event or of the reader. */
void cli_print_booking(const struct cli *cli, const json_t *booking);
void cli_print_machine(const struct cli *cli, const json_t *machine);
/* The window from the object's members start and end. Returns buf. */
const char *cli_window_of(const struct cli *cli, const json_t *object, char buf[CLI_TIME_LEN]);
/* "  4 GPUs     64 GiB", of the object's members gpus and memory_gib. Returns buf. */
#define CLI_AMOUNT_LEN 64
const char *cli_amount_show(const json_t *object, char buf[CLI_AMOUNT_LEN]);
/* Machines and amounts, a line each. */
void cli_print_shares(const json_t *shares);
extern const struct table_column cli_booking_columns[], cli_machine_columns[]; /* of TSV */

/* list.c */
/* Gets all items of a collection ("machines") that pass the filter ("&state=up", or ""). Returns 0
 * and gives a new array; otherwise the problem was reported. */
int cli_get_all(const struct cli *cli, const char *collection, const char *filter,
                json_t **items_out);
/* Gets and prints the bookings of a series. Returns the exit code. */
int cli_print_series(const struct cli *cli, const char *series);

/* decision.c: sending one request */
/* The parts of a request that messages about its decision need. */
struct cli_asked {
    const char *window; /* how the times were understood; NULL or "": none */
    int64_t length_ms;  /* of the window; 0: not known */
    const char *repeat; /* how the booking recurs; NULL: it does not */
};
/* The members id, partition and offset (null: not known) of a sent request; a new reference. */
json_t *cli_sent_json(const struct berth_outcome *outcome);
/* What --dry-run prints of a message; without `topic` if that is NULL. A new reference. */
json_t *cli_message_json(const struct berth_message *message, const char *topic);
/* Signs and sends the request (takes it), waits for the decision and prints it; with --dry-run
 * prints the request. `asked` may be NULL. Returns the exit code. */
int cli_decide(struct cli *cli, json_t *request, const struct cli_asked *asked);

/* earlier.c: a request id that was sent before */
/* Prints what became of the id that --request-id gives, if the reader knows its decision and it can
 * be this request's: of the same type and user, and of the same booking, machine or allocations.
 * Times are not compared: `+30h` is another moment whenever the command is repeated. False: no such
 * decision is known. *code: the exit code. */
bool cli_print_earlier(struct cli *cli, const json_t *request, int *code);
/* What to do when the outcome of a request is not known, as part of a sentence; caller frees. */
char *cli_advice(const char *request_id);

/* outcome.c: how a decision looks */
/* Prints a decision (the event's JSON and its bytes, which end with a newline or not); `asked` may
 * be NULL: only the event is known.
 * Returns the exit code: 0 accepted, 3 rejected, 5 rejected because what it names does not exist. */
int cli_print_decision(const struct cli *cli, const json_t *event, const char *bytes,
                       const struct cli_asked *asked);
/* PARTITION:OFFSET, or PARTITION:? if the offset is not known; caller frees. */
char *cli_place_text(int32_t partition, int64_t offset);
/* The TSV row of a published message whose decision is not awaited. */
void cli_print_published_row(const struct cli *cli, const struct berth_outcome *outcome);
/* "`outcome`, `reason`, …": the columns of a decision in TSV, for the documentation. */
void cli_print_columns(FILE *out);

/* paste.c: commands that are ready to be pasted into a shell; caller frees */
/* The command that was typed, with this start and length, and without its request id. */
char *cli_command_at(const struct cli *cli, int64_t start_ms, int64_t length_ms);
/* `berth book` for this share ("gpu-01:4:64", as typed), or, if NULL, for the command's own --any,
 * --gpus, --mem and --label. */
char *cli_command_book(const struct cli *cli, const char *share, int64_t start_ms,
                       int64_t length_ms);

/* http.c */
/* GETs a path ("/v1/machines/gpu-01"; its parts already escaped) at reader.url. 200: gives the JSON
 * and returns 0. Otherwise the problem was reported, and the exit code is returned: 5 for 404.
 * *bytes_out (may be NULL) gets the answer's bytes; caller frees. */
int cli_get(const struct cli *cli, json_t **out, char **bytes_out, const char *path, ...)
    __attribute__((format(printf, 4, 5)));
/* The same for something that may be missing: false, without a report, if there is no answer. */
bool cli_get_if_there(const struct cli *cli, json_t **out, char **bytes_out, const char *path, ...)
    __attribute__((format(printf, 4, 5)));
/* A part of a path or a query value, escaped; caller frees. */
char *cli_escape(const char *text);
/* Append a query parameter, with '&' in front; nothing for NULL or a time of 0. */
struct buf;
void cli_add_parameter(struct buf *query, const char *name, const char *value);
void cli_add_time(struct buf *query, const char *name, int64_t ms);
/* --label as parameters of that name. */
void cli_add_labels(struct buf *query, const struct cli *cli);

/* book.c */
struct cli_shares;
/* Asks the reader for the amounts of each bare MACHINE, which means the whole machine. Returns the
 * exit code. */
int cli_resolve_shares(const struct cli *cli, struct cli_shares *shares);
struct cli_any;
/* The same for --any without amounts: all machines that carry the labels must be alike. */
int cli_resolve_any(const struct cli *cli, struct cli_any *any);

/* machine_show.c */
/* Gets the machine's timeline between two times (0: the reader's default) and prints it in the
 * format of -o. Returns the exit code. */
int cli_print_timeline(const struct cli *cli, const char *machine, int64_t from_ms, int64_t to_ms);

/* history.c */
/* Prints the decisions that made and changed a booking, a line each. Returns the exit code. */
int cli_print_history(const struct cli *cli, const char *booking);

/* completion.c */
/* Prints what can stand at the last of the words. Returns the exit code. */
int cli_complete(const char *const *words, size_t count);

/* ---- commands */
cli_command_run cli_book, cli_amend, cli_cancel, cli_machine_add, cli_machine_update,
    cli_machine_drain, cli_machine_resume, cli_machine_retire, cli_machine_list, cli_machine_show,
    cli_key_generate, cli_key_show, cli_show, cli_list, cli_free, cli_why, cli_submit, cli_watch,
    cli_verify, cli_config, cli_completion;

#endif
