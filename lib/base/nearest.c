#include "lib/base/nearest.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

/* Longer words are not typing mistakes of a name; also bounds the work. */
#define WORD_LEN 64

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

static int same_letter(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Edits between two words: a letter added, left out, changed, or two neighbours swapped (optimal
 * string alignment). SIZE_MAX if one is too long. */
static size_t distance(const char *a, const char *b)
{
    size_t a_len = strlen(a);
    size_t b_len = strlen(b);
    if (a_len > WORD_LEN || b_len > WORD_LEN)
        return SIZE_MAX;
    size_t rows[3][WORD_LEN + 1];
    for (size_t j = 0; j <= b_len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3];
        const size_t *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t changed = same_letter(a[i - 1], b[j - 1]) ? 0 : 1;
            row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + changed);
            if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) &&
                same_letter(a[i - 2], b[j - 1]) && above2[j - 2] + 1 < row[j])
                row[j] = above2[j - 2] + 1;
        }
    }
    return rows[a_len % 3][b_len];
}

void nearest_init(struct nearest *n, const char *word)
{
    *n = (struct nearest){.word = word, .distance = SIZE_MAX};
}

static void offer(struct nearest *n, size_t edits, const char *result)
{
    if (edits < n->distance) {
        n->distance = edits;
        n->best = result;
    }
}

void nearest_offer(struct nearest *n, const char *name)
{
    offer(n, distance(n->word, name), name);
}

void nearest_offer_as(struct nearest *n, const char *name, const char *result)
{
    size_t edits = distance(n->word, name), len = strlen(name), word_len = strlen(n->word);
    size_t common = len < word_len ? len : word_len;
    if (edits > 1 && common > 2 && strncasecmp(n->word, name, common) == 0)
        edits = 1;
    offer(n, edits, result);
}

const char *nearest_result(const struct nearest *n)
{
    /* A third of the word may be wrong, at most three letters. */
    size_t allowed = strlen(n->word) / 3 + 1;
    if (allowed > 3)
        allowed = 3;
    return n->distance <= allowed ? n->best : NULL;
}
