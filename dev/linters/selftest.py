"""Plants one violation of each rule in a small tree and compares the findings with the marks: a
line with `lint: TEXT` in a comment must have a finding that contains TEXT, no other line has one.
"""

import contextlib
import io
import re
import shutil
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

FILES = {
    "core/core.c": r'''
#include <stdio.h> /* allowed in the core */
#include <time.h>  /* lint: must not include <time.h> */

#include "core/gone.h" /* lint: no file, lint: file not found */
#include "db/tables.h" /* lint: core/ must not include */
''',
    "lib/base/calls.c": r'''
#include "lib/base/calls.h"

#include <stdlib.h>
#include <string.h>

#define UNUSED_MACRO 3 /* lint: unused macro UNUSED_MACRO */

int calls_count(char *to, const char *from)
{
    struct calls_unused unused = {.member = (int)sizeof *to}; /* lint: sizeof has parentheses */
    strcpy(to, from);                                         /* lint: banned call strcpy */
    strtol(from, NULL, 10);                                   /* lint: unused-return-value */
    if (from == NULL)                                         /* lint: tested as !p */
        return rand();                                        /* lint: cert-msc30-c */
    if (from != NULL && to)                                   /* lint: tested as p */
        return (int)atoll(from);                              /* lint: cert-err34-c */
    if (from[0]) {                                            /* lint: needs no braces */
        return atoi(from);                                    /* lint: cert-err34-c */
    }
    if (from[1]) /* lint: readability-braces-around-statements */
        for (int i = 0; i < 2; i++)
            unused.member++;
    return unused.member;
}

int calls_err(int err, int unused) /* lint: clang-diag, lint: misc-unused, lint: no caller */
{
    int err_of = err;
    if (err) {                   /* lint: an error is compared by name */
        return err ? err_of : 1; /* lint: an error is compared by name */
    } else {                     /* lint: readability-else-after-return */
        return 1;
    }
}

int calls_tested(void) /* lint: calls_tested has no caller outside tests */
{
    return calls_own();
}

int calls_own(void) /* lint: calls_own is called in its own file only */
{
    int own = calls_count(0, 0);
    return own > 1 && own > 1; /* lint: misc-redundant-expression */
}

int calls_many(int a, int b, int c, int d, int e, int g) /* lint: 6 parameters */
{
    return a + b + c + d + e + g;
}
''',
    "lib/base/calls.h": r'''
#ifndef BERTH_CALLS_H
#define BERTH_CALLS_H

#include "lib/base/round.h" /* lint: headers include each other in a circle */

struct calls_unused {
    int member;
    int never_read; /* lint: unused member never_read */
};

struct calls_alone { /* lint: unused type calls_alone */
    int member;
};

enum calls_kind {
    CALLS_NEVER, /* lint: unused enumerator CALLS_NEVER */
};

int calls_count(char *to, const char *from);
int calls_err(int code, int unused); /* lint: inconsistent-declaration-parameter-name */
int calls_tested(void);
int calls_own(void);
int calls_many(int a, int b, int c, int d, int e, int g);
enum calls_kind calls_missing(void); /* lint: calls_missing is declared and nowhere defined */

#endif
''',
    "lib/base/round.h": r'''
#ifndef BERTH_ROUND_H
#define BERTH_ROUND_H

#include "lib/base/calls.h" /* */

#endif
''',
    "lib/base/layout.c": r'''
#include "lib/base/calls.h"

#include <jwt.h>

int layout(int a ) /* lint: not laid out, lint: has no caller, lint: no previous prototype */
{
    return a + calls_count(0, 0) + calls_many(1, 2, 3, 4, 5, 6);
}
''',
    "lib/token/calls.c": "int calls_again; /* lint: has this file's name */\n",
    "lib/token/three_a.h": '#include "lib/token/three_b.h" /* lint: headers include each other */\n',
    "lib/token/three_b.h": '#include "lib/token/three_a.h"\n',
    "cli/one.c": '#include "cli/one.h"\n#include "cli/two.h" /* lint: modules include */\n',
    "cli/two.c": '#include "cli/two.h"\n#include "cli/three.h"\n',
    "cli/three.c": '#include "cli/three.h"\n#include "cli/one.h"\n',
    "cli/one.h": "/* */\n",
    "cli/two.h": "/* */\n",
    "cli/three.h": "/* */\n",
    "db/tables.h": "#include <microhttpd.h> /* lint: <microhttpd.h> belongs in */\n",
    "tests/calls.c": '#include "lib/base/calls.h"\n\nint main(void)\n{\n    return calls_tested();\n}\n',
    "dev/script": "#!/bin/bash\necho $1 # lint: Double quote\n",
    "dev/script.py": "def broken(: # lint: Python\n",
    "docs/page.md": "no end # lint: no line break at the end",
    "docs/names.md": r'''
# One heading
[here](page.md), [there](#one-heading), `lib/base/calls.c`: `calls_count`
[gone](gone.md) lint: no file gone.md
[nowhere](#two-headings) lint: no heading #two-headings
`lib/base/gone.c` lint: no file lib/base/gone.c
`lib/base/calls.c`: `calls_gone` lint: has no function calls_gone
''',
    "dev/space.txt": "space # lint: space at the end of the line  \n",
}
FILES["worker/print.c"] = r'''
#include <stdio.h>

int main(void)
{
    return printf("%s", "text"); /* lint: banned call printf: print_line */
}
'''
FILES["worker/long.c"] = (
    "static int long_one(int a) /* lint: has 51 lines, lint: unused function */\n{\n" +
    "    a++;\n" * 50 + "    return a;\n}\n")


def plant(root, top):
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    for name in (".clang-format", ".clang-tidy"):
        shutil.copy(top / name, root / name)
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text.removeprefix("\n"))


def marks():
    """The expected findings: {(file, line): [text …]}."""
    found = defaultdict(list)
    for name, text in FILES.items():
        for number, line in enumerate(text.removeprefix("\n").split("\n"), 1):
            for mark in re.findall(r"lint: (.*?)\s*(?=, lint:|\*/|$)", line):
                found[name, number].append(mark)
    return found


def run(top, lint):
    """Prints a line for each difference between findings and marks; returns 1 if there is one."""
    output = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        plant(Path(folder), top)
        with contextlib.redirect_stdout(output):
            lint(Path(folder))
    expected = marks()
    count, wrong = sum(map(len, expected.values())), 0
    for name, number, text in re.findall(r"^([^:\n]+):(\d+):(.*)$", output.getvalue(), re.M):
        texts = expected.get((name, int(number)), [])
        match = next((mark for mark in texts if mark in text), None)
        if match:
            texts.remove(match)
        else:
            print(f"dev/linters/selftest.py: not planted: {name}:{number}:{text}")
            wrong += 1
    for (name, number), texts in expected.items():
        for text in texts:
            print(f"dev/linters/selftest.py: not found: {name}:{number}: {text}")
            wrong += 1
    print(f"lint: {count} planted findings, {wrong} wrong")
    return int(wrong > 0)
