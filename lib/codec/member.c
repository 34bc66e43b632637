#include "lib/codec/member.h"

#include <string.h>

#include "lib/base/timetext.h"

const json_t *member(const json_t *object, const char *path)
{
    size_t len = strcspn(path, ".");
    const json_t *value = json_object_getn(object, path, len);
    return path[len] ? member(value, path + len + 1) : value;
}

const char *member_text(const json_t *object, const char *path)
{
    return json_string_value(member(object, path));
}

const char *member_or(const json_t *object, const char *path, const char *otherwise)
{
    const char *text = member_text(object, path);
    return text ? text : otherwise;
}

const char *member_shown(const json_t *object, const char *path)
{
    return member_or(object, path, "");
}

int64_t member_number(const json_t *object, const char *path)
{
    return json_integer_value(member(object, path));
}

int64_t member_time_ms(const json_t *object, const char *path)
{
    int64_t ms = 0;
    const char *text = member_shown(object, path);
    return timetext_parse(text, strlen(text), &ms) ? ms : 0;
}
