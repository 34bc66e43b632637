/* Table-driven decoding of JSON objects, for lib/codec/claims*.c: a table lists the members of an
 * object; the first fault is kept with its JSON pointer. */
#ifndef BERTH_LIB_CODEC_DECODER_H
#define BERTH_LIB_CODEC_DECODER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/decide.h"
#include "lib/codec/repeat.h"

/* A member name that a client sent is repeated in `pointer` only up to this many bytes. */
#define DECODER_ECHO_LEN 64

/* The decoder's place in the payload: members and indexes, linked from the innermost to the top on
 * the C stack. It becomes text only when a fault is found. */
struct path {
    const struct path *up; /* NULL: the payload itself */
    const char *member;    /* NULL: an array's item */
    size_t index;
};

struct decoder {
    struct arena *arena;
    struct claims *out;
    struct repeat repeat; /* booking_create.windows follow from it */
};

/* One member of an object: a row of its table. */
struct field;
typedef bool parse_fn(struct decoder *d, const struct path *at, const struct field *field,
                      const json_t *value, void *target);
enum presence { OPTIONAL, REQUIRED };
struct field {
    const char *name;
    enum presence presence;
    parse_fn *parse;  /* NULL: decoded elsewhere */
    size_t target;    /* offset of the value in the object's struct */
    size_t given;     /* offset of a bool that is set with it; 0: none */
    int64_t min, max; /* parse_int, parse_duration */
};

/* One kind of object: its members and the rules between them. Bit i of `given`: the i-th field was
 * there. */
struct shape {
    const struct field *fields;
    size_t count;
    bool (*check)(struct decoder *d, const struct path *at, void *object,
                  uint32_t given); /* NULL: nothing */
};
#define DECODER_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Keeps the first fault; ignores later ones. Returns false, so that a parser can return it.
 * `expected` completes "expected …" and must live as long as the arena. The pointer ends before a
 * member whose name is too long to be repeated. */
bool decoder_fault(struct decoder *d, const struct path *at, const char *expected);
/* The same for the object's member. */
bool decoder_member_fault(struct decoder *d, const struct path *at, const char *member,
                          const char *expected);
/* A fault: the value is missing (NULL) or not as expected. */
bool decoder_unfit(struct decoder *d, const struct path *at, const json_t *value,
                   const char *expected);

/* The string's text; NULL: not a string, or one with a NUL in it, which fits nowhere. */
const char *decoder_text(const json_t *value);
/* A copy of the string in the arena. */
char *decoder_keep(struct decoder *d, const json_t *string);

/* Parsers for tables. Each sets its target, of the type named, only if the value is valid; NULL, a
 * missing value, is not. */
parse_fn parse_int;      /* int64_t, field->min to max */
parse_fn parse_duration; /* int64_t: seconds in JSON, milliseconds inside */
parse_fn parse_time;     /* int64_t, ms */
parse_fn parse_bool;     /* bool */
parse_fn parse_name;     /* const char * in the arena, as the next two */
parse_fn parse_request_id;
parse_fn parse_user;
parse_fn parse_state;  /* enum machine_state */
parse_fn parse_labels; /* struct labels */

/* Decodes an object (asserted) into the struct of its shape: checks for unknown members, then
 * decodes the fields in the table's order, then checks the rules between them. */
bool decoder_object(struct decoder *d, const struct path *at, const struct shape *shape,
                    const json_t *value, void *object);

#endif
