#include "lib/codec/canonical.h"

#include <assert.h>
#include <string.h>

struct member {
    const char *name;
    const json_t *value;
};

/* Sorts the members by name; by insertion, because requests have few, often in order. */
static size_t sort_members(const json_t *object, struct member members[CANONICAL_MEMBERS_MAX])
{
    size_t count = 0;
    const char *name;
    json_t *value;
    assert(json_object_size(object) <= CANONICAL_MEMBERS_MAX);
    json_object_foreach((json_t *)object, name, value)
    {
        size_t place = count;
        while (place > 0 && strcmp(members[place - 1].name, name) > 0) {
            members[place] = members[place - 1];
            place--;
        }
        members[place] = (struct member){name, value};
        count++;
    }
    return count;
}

static void write_object(struct jsonout *out, const json_t *object)
{
    struct member members[CANONICAL_MEMBERS_MAX];
    size_t count = sort_members(object, members);
    JSONOUT_RAW(out, "{");
    for (size_t i = 0; i < count; i++) {
        jsonout_comma(out);
        jsonout_string(out, members[i].name);
        JSONOUT_RAW(out, ":");
        canonical_write(out, members[i].value);
    }
    JSONOUT_RAW(out, "}");
}

static void write_array(struct jsonout *out, const json_t *array)
{
    JSONOUT_RAW(out, "[");
    for (size_t i = 0; i < json_array_size(array); i++) {
        jsonout_comma(out);
        canonical_write(out, json_array_get(array, i));
    }
    JSONOUT_RAW(out, "]");
}

void canonical_write(struct jsonout *out, const json_t *value)
{
    assert(value);
    assert(!json_is_real(value));
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        write_object(out, value);
        break;
    case JSON_ARRAY:
        write_array(out, value);
        break;
    case JSON_STRING:
        assert(strlen(json_string_value(value)) == json_string_length(value));
        jsonout_string(out, json_string_value(value));
        break;
    case JSON_INTEGER:
        jsonout_int(out, json_integer_value(value));
        break;
    case JSON_TRUE:
        JSONOUT_RAW(out, "true");
        break;
    case JSON_FALSE:
        JSONOUT_RAW(out, "false");
        break;
    case JSON_NULL:
    case JSON_REAL:
        JSONOUT_RAW(out, "null");
        break;
    }
}
