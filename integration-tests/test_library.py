"""The installed libberth: its files, its exported symbols, and the header's first example compiled,
linked and run as a user would."""

import os
import re
import shlex
import subprocess

import pytest

from berthtest.check import check_farm
from berthtest.farm import write_key_file
from berthtest.pages import blocks
from berthtest.process import program
from berthtest.servers import ROOT

HEADER = ROOT / "producer/include/berth.h"
SYMBOLS = ROOT / "packaging/libberth0.symbols"
PREFIX, LIBDIR = "/usr/local", "/usr/local/lib/test-arch"
STRICT = ["-pedantic", "-Wall", "-Wextra", "-Werror"]
COMPILERS = {"c99": ["gcc", "-std=c99"], "c17": ["gcc", "-std=c17"],
             "c++17": ["g++", "-std=c++17", "-x", "c++"]}


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          timeout=120, check=False, **options)
    assert done.returncode == 0, f"{shlex.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


class Installed:
    """The build under test, installed by `make install` below a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.lib = folder / LIBDIR[1:]
        built = os.path.relpath(os.path.dirname(os.path.dirname(program("berth"))), ROOT)
        # Must not rebuild: the other tests are running these programs.
        flags = (ROOT / built / "flags").read_text().rstrip("\n")
        run("make", "-C", ROOT, f"O={built}", f"flags_now={flags}", "install", f"DESTDIR={folder}",
            f"PREFIX={PREFIX}", f"LIBDIR={LIBDIR}")

    def pkg_config(self, *options):
        """pkg-config's answer about the installed library."""
        environment = {**os.environ, "PKG_CONFIG_PATH": str(self.lib / "pkgconfig"),
                       "PKG_CONFIG_SYSROOT_DIR": str(self.folder)}
        return shlex.split(run("pkg-config", *options, "berth", env=environment))

    def libs(self, static):
        """The linker options of docs/library.md for libberth.a and its dependencies."""
        libs = self.pkg_config("--libs")
        assert "-lberth" in libs
        if not static:
            return libs
        libs[libs.index("-lberth")] = "-l:libberth.a"
        below = self.pkg_config("--print-requires-private")
        return libs + shlex.split(run("pkg-config", "--libs", *below))

    def link(self, source, language="c17", static=False):
        """Compiles a file and links it with one of the libraries; returns the program's path."""
        path = source.with_suffix(f".{language}{'-static' if static else ''}")
        run(*COMPILERS[language], *STRICT, source, "-x", "none", "-o", path,
            *self.pkg_config("--cflags"), *self.libs(static))
        assert ("libberth.so.0" in run("readelf", "-d", path)) == (not static)
        return path

    def run(self, path, *arguments):
        return run(path, *arguments, env={**os.environ, "LD_LIBRARY_PATH": str(self.lib)})


@pytest.fixture(scope="module", name="installed")
def fixture_installed(tmp_path_factory):
    return Installed(tmp_path_factory.mktemp("installed"))


def names(*nm):
    """The symbols printed by nm."""
    return {line.split()[-1] for line in run("nm", *nm).splitlines() if len(line.split()) > 1}


def declarations():
    """The functions declared by the header, each with its comment."""
    return {name: above for above, name in re.findall(
        r"\n([^\n]*)\n(?:[a-z][\w *]*?[ *])(berth_\w+)\([^;{]*\);", HEADER.read_text())}


def example():
    """The first program in the header's comment."""
    comment = HEADER.read_text().partition("*/")[0]
    code = re.search(r"^ \*     #include.*?^ \*     }$", comment, re.S | re.M).group()
    return "\n".join(line[7:] for line in code.split("\n")) + "\n"


# ---- installed files -----------------------------------------------------------------------------

def test_installed_files(installed):
    version = re.search(r'BERTH_VERSION "(.*)"', (ROOT / "lib/base/version.h").read_text()).group(1)
    prefix = installed.folder / PREFIX[1:]
    assert {path.name for path in (prefix / "bin").iterdir()} == {
        "berth", "berth-admin", "berth-worker", "berth-reader"}
    assert (prefix / "include/berth.h").read_bytes() == HEADER.read_bytes()
    real = "libberth.so.0." + version.partition(".")[2]
    assert {path.name for path in installed.lib.iterdir()} == {
        "libberth.a", "libberth.so", "libberth.so.0", real, "pkgconfig"}
    assert os.readlink(installed.lib / "libberth.so") == "libberth.so.0"
    assert os.readlink(installed.lib / "libberth.so.0") == real
    assert "soname: [libberth.so.0]" in run("readelf", "-d", installed.lib / real)
    assert installed.pkg_config("--modversion") == [version]
    below = installed.pkg_config("--libs", "--static")
    assert {"-lrdkafka", "-ljansson", "-ljwt", "-lcrypto", "-lpthread"} <= {*below}


def test_libraries_export_what_the_header_declares(installed):
    declared = declarations()
    assert "berth_open" in declared and len(declared) > 20
    assert [name for name, above in declared.items() if not above.endswith("*/")] == []
    listed = re.findall(r"^ (\S+)@BERTH_0 \d+\.\d+\.\d+$", SYMBOLS.read_text(), re.M)
    assert SYMBOLS.read_text().startswith("libberth.so.0 libberth0 #MINVER#\n")
    assert sorted(listed) == sorted([*declared, "BERTH_0"])
    shared = names("-D", "--defined-only", installed.lib / "libberth.so")
    assert shared == {"BERTH_0", *(f"{name}@@BERTH_0" for name in declared)}
    static = names("-g", "--defined-only", installed.lib / "libberth.a")
    assert static == set(declared)


@pytest.mark.parametrize("language", COMPILERS)
def test_header_compiles_alone(installed, tmp_path, language):
    source = tmp_path / "alone.c"
    source.write_text("#include <berth.h>\n#include <berth.h>\n")
    run(*COMPILERS[language], *STRICT, "-c", source, "-o", tmp_path / "alone.o",
        *installed.pkg_config("--cflags"))


def test_readme_compiles_the_example(installed, tmp_path):
    """The README's line, as written, on the header's program."""
    (tmp_path / "book.c").write_text(example())
    line, = (block for block in blocks("README.md", "") if "book.c" in block)
    run("bash", "-ec", line, cwd=tmp_path, env={
        **os.environ, "PKG_CONFIG_PATH": str(installed.lib / "pkgconfig"),
        "PKG_CONFIG_SYSROOT_DIR": str(installed.folder)})
    assert (tmp_path / "book").is_file()


# A program that defines functions with the libraries' internal names and loads the shared library.
CLASH = r"""
#include <berth.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRAP(name) void name(void); void name(void) { abort(); }
@TRAPS@

int main(int argc, char **argv)
{
    struct berth_client *client;
    char id[BERTH_UUID_LEN] = "";
    if (berth_open(NULL, 0, &client, NULL) != BERTH_OK)
        return 1;
    berth_close(client);
    berth_uuid7(id);
    if (argc > 1) {
        void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        void (*other)(char *);
        if (!library)
            return 1;
        *(void **)&other = dlsym(library, "berth_uuid7");
        other(id);
    }
    printf("%zu\n", strlen(id));
    return 0;
}
"""


@pytest.mark.parametrize("static", [False, True])
def test_program_may_use_the_names_of_internals(installed, tmp_path, static):
    inner = {line.split()[2] for line in run("nm", installed.lib / "libberth.a").splitlines()
             if re.match(r"\w+ t \w+$", line)}
    # An internal call that resolves to the program's function aborts it.
    wanted = {"xcalloc", "xmalloc", "clock_wall_ms", "lb_disconnect", "arena_new"}
    assert wanted <= inner
    source = tmp_path / "clash.c"
    traps = "\n".join(f"TRAP({name})" for name in sorted(wanted))
    source.write_text(CLASH.replace("@TRAPS@", traps))
    path = installed.link(source, static=static)
    arguments = [installed.lib / "libberth.so.0"] if static else []
    assert installed.run(path, *arguments) == "36\n"


# ---- the header's example ------------------------------------------------------------------------

def for_farm(code, farm, machine):
    """The example with the farm's settings in place of the printed ones."""
    client = farm.batch_1
    key_file = write_key_file(farm.folder / f"{client.kid}.key", client.key)
    for shown, ours in {
            "broker-1:9092": farm.broker.bootstrap, "/etc/berth/batch-1.pem": key_file,
            "gpu-01": machine,
            '{"farm.name", "lab"},': f'{{"farm.name", "{farm.name}"}}, '
                                     f'{{"farm.topic_prefix", "{farm.topic_prefix}"}}, '
                                     f'{{"client.kid", "{client.kid}"}},'}.items():
        assert code.count(shown) == 1, shown
        code = code.replace(shown, str(ours))
    return code


@pytest.mark.parametrize("static", [False, True], ids=["shared", "static"])
@pytest.mark.parametrize("language", COMPILERS)
def test_header_example_books(installed, module_farm, tmp_path, language, static):
    farm = module_farm
    machine = f"library-{language.replace('+', 'p')}-{'static' if static else 'shared'}"
    farm.register(machine, gpus=8, memory_gib=64)
    source = tmp_path / "book.c"
    source.write_text(for_farm(example(), farm, machine))
    path = installed.link(source, language, static)
    assert installed.run(path) == "accepted\n"
    assert installed.run(path) == "insufficient_capacity\n"
    check_farm(farm)
