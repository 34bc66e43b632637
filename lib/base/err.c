#include "lib/base/err.h"

#include <assert.h>
#include <stdio.h>

#include "core/utf8.h"

static const char *const names[ERR_COUNT] = {
#define ERR_NAME(id, name) [ERR_##id] = name,
    ERR_TABLE(ERR_NAME)
#undef ERR_NAME
};

const char *err_name(enum err err)
{
    assert(err < ERR_COUNT);
    return names[err];
}

enum err failure_vset(struct failure *f, enum err err, const char *format, va_list args)
{
    assert(err < ERR_COUNT);
    if (!f)
        return err;
    /* Not straight into f->text, which may be one of the arguments. */
    char text[FAILURE_TEXT_LEN];
    vsnprintf(text, sizeof(text), format, args);
    f->err = err;
    f->halt_cause = 0;
    utf8_visible(f->text, sizeof(f->text), text);
    return err;
}

enum err failure_set(struct failure *f, enum err err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)failure_vset(f, err, format, args);
    va_end(args);
    return err;
}

enum err failure_wrap(struct failure *f, const char *format, ...)
{
    assert(f);
    char text[FAILURE_TEXT_LEN];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    int halt_cause = f->halt_cause;
    (void)failure_set(f, f->err, "%s: %s", text, f->text);
    f->halt_cause = halt_cause;
    return f->err;
}

bool err_is_retryable(enum err err)
{
    switch (err) {
    case ERR_DB_DEADLOCK:
    case ERR_DB_LOCK_TIMEOUT:
    case ERR_DB_DUPLICATE:
    case ERR_DB_CONNECTION:
    case ERR_DB_SERVER:
    case ERR_WORLD_GREW:
    case ERR_KEYS_CHANGED:
        return true;
    default:
        return false;
    }
}

bool err_is_connection(enum err err)
{
    return err == ERR_DB_CONNECTION || err == ERR_DB_COMMIT_UNKNOWN;
}

enum exit_code err_exit_code(enum err err)
{
    switch (err) {
    case ERR_OK:
        return EXIT_CODE_OK;
    case ERR_USAGE:
    case ERR_CONFIG:
        return EXIT_CODE_USAGE;
    case ERR_NOT_FOUND:
        return EXIT_CODE_NOT_FOUND;
    case ERR_TIMEOUT:
        return EXIT_CODE_NO_DECISION;
    default:
        return EXIT_CODE_FAILURE;
    }
}
