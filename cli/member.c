#include "cli/member.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/timetext.h"

const char *member_text(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

const char *member_shown(const json_t *object, const char *name)
{
    const char *text = member_text(object, name);
    return text ? text : "";
}

int64_t member_number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

const char *member_digits(const json_t *object, const char *name, char buf[MEMBER_DIGITS_LEN])
{
    buf[0] = '\0';
    if (json_is_integer(json_object_get(object, name)))
        snprintf(buf, MEMBER_DIGITS_LEN, "%" PRId64, member_number(object, name));
    return buf;
}

int64_t member_time_ms(const json_t *object, const char *name)
{
    int64_t ms = 0;
    const char *text = member_shown(object, name);
    return timetext_parse(text, strlen(text), &ms) ? ms : 0;
}
