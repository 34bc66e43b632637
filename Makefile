# Berth's build. `make help` lists the verbs.
#
# BUILD=dir   the folder of all build output (default build); several builds can coexist in one
#             checkout.
# V=1         show the commands.
# WERROR=1    warnings are errors; SAN=1 adds ASan and UBSan; TSAN=1, COV=1 and FUZZ=1 likewise.
#             Each combination has its own folder below BUILD, so switching rebuilds nothing.
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

BUILD ?= build
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
DESTDIR ?=
PKG_CONFIG ?= pkg-config
OBJCOPY ?= objcopy
FUZZ_SECONDS ?= 60
ifeq ($(origin CC),default)
CC := $(if $(FUZZ),clang,gcc)
endif
ifeq ($(origin AR),default)
AR := ar
endif

empty :=
space := $(empty) $(empty)
variant := $(subst $(space),-,$(strip $(if $(SAN),san) $(if $(TSAN),tsan) $(if $(COV),cov) \
	$(if $(FUZZ),fuzz) $(if $(WERROR),strict)))
O := $(BUILD)$(if $(variant),/$(variant))

# ---- flags -------------------------------------------------------------------------------------
CFLAGS ?= -O2 -g
warnings := -Wall -Wextra -Wshadow -Wconversion -Wformat=2 -Wmissing-prototypes \
	-Wstrict-prototypes -Wimplicit-fallthrough -Wvla $(if $(WERROR),-Werror)
# Asserts stay on in every build: nothing here may define NDEBUG.
base_flags := -std=c17 -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -I. -Iproducer/include -MMD -MP \
	-fno-strict-aliasing -fstack-protector-strong
sanitize :=
ifneq ($(SAN),)
sanitize += -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
endif
ifneq ($(TSAN),)
sanitize += -fsanitize=thread -fno-omit-frame-pointer
endif
ifneq ($(COV),)
sanitize += --coverage
endif
ifneq ($(FUZZ),)
sanitize += -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
endif

# Hardening of the plain build; sanitizers have checks of their own. The control-flow marks are x86's.
harden :=
harden_link := -Wl,-z,relro,-z,now -Wl,-z,noexecstack
ifeq ($(sanitize),)
harden += $(if $(filter -O1 -O2 -O3 -Os,$(CFLAGS)),-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2) \
	-fstack-clash-protection $(if $(filter x86_64%,$(shell $(CC) -dumpmachine)),-fcf-protection)
endif

packages := rdkafka jansson libjwt libmicrohttpd libcurl libcrypto libmariadb zlib
no_build_goals := test setup demo demo-stop bench bench-reader bench-start lint tidy-flags format stack-up stack-down clean help fresh
ifneq ($(filter-out $(no_build_goals),$(or $(MAKECMDGOALS),all)),)
ifneq ($(shell $(PKG_CONFIG) --exists $(packages) cmocka && echo yes),yes)
$(error libraries are missing: `make setup` installs them on Debian 12)
endif
endif
# Foreign headers are system headers, to exempt them from our warnings.
package_flags := $(patsubst -I%,-isystem %,$(shell $(PKG_CONFIG) --cflags $(packages) 2>&-))
package_libs := $(shell $(PKG_CONFIG) --libs $(packages) 2>&-) -lpthread -lm
cmocka_flags := $(patsubst -I%,-isystem %,$(shell $(PKG_CONFIG) --cflags cmocka 2>&-))
cmocka_libs := $(shell $(PKG_CONFIG) --libs cmocka 2>&-)

compile = $(CC) $(base_flags) $(harden) $(warnings) $(CFLAGS) $(sanitize) $(package_flags)
link = $(CC) $(CFLAGS) $(sanitize) $(harden_link) $(LDFLAGS)

# ---- sources: every .c of a folder is picked up ------------------------------------------------
folder = $(sort $(wildcard $(1)/*.c))
objects = $(patsubst %.c,$(O)/%.o,$(1))

admin_sources := $(sort $(wildcard admin/*.c admin/*/*.c))

lib_core := $(call folder,core)
lib_common := $(sort $(wildcard lib/*/*.c))
lib_db := $(call folder,db)
lib_worker := $(filter-out worker/main.c,$(call folder,worker))
lib_berth := $(call folder,producer)
lib_cli := $(filter-out cli/main.c,$(call folder,cli))
lib_reader := $(filter-out reader/main.c,$(call folder,reader))

# A folder with a generated file has a build.mk with its rule.
include $(sort $(wildcard */build.mk tests/*/build.mk))

# In linking order, from the programs down to the core.
library_names := worker cli berth reader db schemas common core
libraries := $(foreach name,$(library_names),$(if $(lib_$(name)),$(O)/lib/lib$(name).a))

# A program exists as soon as its main file does.
main_berth := $(wildcard cli/main.c)
main_berth-admin := $(admin_sources)
main_berth-worker := $(wildcard worker/main.c)
main_berth-reader := $(wildcard reader/main.c)
program_names := berth berth-admin berth-worker berth-reader
programs := $(foreach name,$(program_names),$(if $(main_$(name)),$(O)/bin/$(name)))

unit_sources := $(sort $(wildcard tests/unit/test_*.c))
unit_helpers := $(filter-out $(unit_sources),$(call folder,tests/unit))
unit_programs := $(patsubst tests/unit/%.c,$(O)/tests/%,$(unit_sources))
# Programs used by the integration tests and the benchmarks, one file each.
tool_sources := $(sort $(wildcard tests/tools/*.c))
tools := $(patsubst tests/tools/%.c,$(O)/tools/%,$(tool_sources))
# Benchmarks of single modules, run by hand; built with the tests, so that they keep compiling.
bench_sources := $(sort $(wildcard tests/bench/bench_*.c))
bench_programs := $(patsubst tests/bench/%.c,$(O)/bench/%,$(bench_sources))
fuzz_sources := $(sort $(wildcard tests/fuzz/fuzz_*.c))
fuzz_programs := $(patsubst tests/fuzz/%.c,$(O)/fuzz/%,$(fuzz_sources))

all_sources := $(lib_core) $(lib_common) $(lib_db) $(lib_worker) $(lib_berth) \
	$(lib_cli) $(lib_reader) $(admin_sources) $(wildcard */main.c) \
	$(unit_sources) $(unit_helpers) $(tool_sources) $(bench_sources) $(fuzz_sources)

# ---- commands ----------------------------------------------------------------------------------
.PHONY: all tests tools test unit integration demo demo-stop bench bench-start bench-reader \
	bench-core soak soak-core random-core faults crash-points lint tidy-flags format fuzz asan \
	tsan coverage stack-up stack-down install install-programs clean help setup fresh

all: $(libraries) $(programs) $(tools) ## build the four programs into BUILD/bin, and libberth (the default)

tests: $(unit_programs) $(bench_programs) ## build the unit tests, run nothing

setup: ## install what is missing on Debian 12: packages, Kafka, MySQL, the tests' Python
	dev/setup
	dev/venv

test: ## set up, build strictly, lint, unit tests under sanitizers, integration tests
	dev/test

unit: tests ## run the unit tests of this build (SAN=1: under ASan and UBSan)
	@dev/run-unit $(unit_programs)

integration: all ## run the integration tests against this build (PYTEST_ARGS='-k name')
	dev/venv
	BERTH_BIN=$(abspath $(O)/bin) \
		var/venv/bin/pytest -n 2 --dist loadgroup integration-tests $(PYTEST_ARGS)

faults: all ## run each fault of the integration tests BERTH_FAULT_REPEATS (20) times; last line JSON
	dev/venv
	BERTH_BIN=$(abspath $(O)/bin) dev/faults faults $(PYTEST_ARGS)

crash-points: all ## kill a worker at each of its writes and sends over a whole run; last line JSON
	dev/venv
	BERTH_BIN=$(abspath $(O)/bin) dev/faults crash-points $(PYTEST_ARGS)

asan: ## unit tests under ASan and UBSan
	$(MAKE) SAN=1 unit

tsan: ## unit tests under the thread sanitizer
	$(MAKE) TSAN=1 unit

soak: all soak-core ## 100 million random decisions; then clients, faults and audits together for SOAK_SECONDS (600), memory flat; last line JSON
	dev/venv
	BERTH_BIN=$(abspath $(O)/bin) var/venv/bin/python dev/soak

fuzz: ## run every fuzz target for FUZZ_SECONDS (60) each
	$(MAKE) FUZZ=1 CC=clang fuzz-run

coverage: ## unit tests with line coverage, report in var/coverage
	$(MAKE) COV=1 CFLAGS='-O0 -g' unit
	mkdir -p var/coverage
	gcovr --root . --object-directory $(BUILD)/cov --exclude tests/ \
		--html-details var/coverage/index.html --print-summary $(BUILD)/cov

lint: ## layout, banned calls, long functions, includes, unused code, clang-tidy, scripts
	dev/lint

# clang-tidy's compiler flags, for dev/lint.
tidy-flags:
	@echo $(filter-out -MMD -MP -Werror,$(base_flags) $(warnings) $(package_flags) $(cmocka_flags))

format: ## lay out all C files with clang-format
	dev/lint --fix

demo: ## all of Berth on this machine, in about a minute after the packages
	dev/demo

demo-stop: ## stop everything started by make demo, keep its data
	dev/demo stop

fresh: ## the README's two commands on a new, minimal Debian 12 (root; debootstrap)
	dev/fresh

bench: ## decisions per second and latency, durable settings on
	dev/bench

bench-reader: ## the reader on a farm with 1,000,000 bookings: rates, times, memory (wrk)
	dev/bench-reader

bench-start: ## time from a worker's start to its first decision, with START_BOOKINGS (1,000,000) live bookings
	dev/bench-start

bench-core: $(O)/bench/bench_core ## decisions per second of core/ alone, by number of live bookings; last line JSON
	$(O)/bench/bench_core

# Each request is decided three times: in batches of 1, 7 and 2,000. `make soak` runs soak-core.
random-core: $(O)/tests/test_decide_random ## 10 million random decisions against the model (TEST_OPS, TEST_SEED)
	TEST_OPS=$${TEST_OPS:-3400000} $(O)/tests/test_decide_random

soak-core: $(O)/tests/test_decide_random ## 100 million random decisions against the model
	TEST_OPS=$${TEST_OPS:-34000000} $(O)/tests/test_decide_random

stack-up: ## start Kafka and the database (STACK_DB=mysql|mariadb); settings in var/stack.env
	dev/stack up

stack-down: ## stop Kafka and the database, keep their data
	dev/stack down

install: install-programs install-libberth ## install programs, header and libraries under DESTDIR, PREFIX (/usr/local), LIBDIR (PREFIX/lib)

install-programs: $(programs) ## install the four programs and the shells' completion only
	install -d $(DESTDIR)$(PREFIX)/bin $(foreach shell,$(shells),$(DESTDIR)$(PREFIX)/share/$(completions_$(shell)))
	$(if $(programs),install -m 755 $(programs) $(DESTDIR)$(PREFIX)/bin/)
	$(foreach shell,$(shells),$(foreach name,berth berth-admin,$(call completion,$(shell),$(name))))

# Where each shell looks for completion, and how the file of a program is called there.
shells := bash zsh fish
completions_bash := bash-completion/completions
completions_zsh := zsh/site-functions
completions_fish := fish/vendor_completions.d
completion_file_bash = $(1)
completion_file_zsh = _$(1)
completion_file_fish = $(1).fish
define completion
$(O)/bin/$(2) completion $(1) >$(DESTDIR)$(PREFIX)/share/$(completions_$(1))/$(call completion_file_$(1),$(2))

endef

clean: ## remove BUILD; the stack's data stays (dev/stack wipe removes that)
	rm -rf $(BUILD)

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' Makefile $(wildcard tests/*/build.mk) | \
		expand -t 20

# ---- how it is built ---------------------------------------------------------------------------
# Prefix of a command: V=1 shows the command, else a verb and the target; `make -s` shows neither.
say = $(if $(V),,@$(if $(findstring s,$(firstword -$(MAKEFLAGS))),,echo '  $(1)' $@;))

# A file with the command line; objects depend on it, so changed flags rebuild them.
flags_now := $(compile) / $(link) / $(package_libs)
ifneq ($(flags_now),$(file <$(O)/flags))
$(shell mkdir -p $(O))
$(file >$(O)/flags,$(flags_now))
endif

$(O)/%.o: %.c $(O)/flags
	@mkdir -p $(@D)
	$(call say,CC)$(compile) $(cmocka_flags) -c -o $@ $<

# Archives are created from scratch: `ar r` would keep the objects of removed files.
define library
$(O)/lib/lib$(1).a: $(call objects,$(lib_$(1))) $(O)/flags
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(call say,AR)$$(AR) rcs $$@ $$(filter %.o,$$^)
endef
$(foreach name,$(library_names),$(if $(lib_$(name)),$(eval $(call library,$(name)))))

define program
$(O)/bin/$(1): $(call objects,$(main_$(1))) $(libraries)
	@mkdir -p $$(@D)
	$$(call say,LD)$$(link) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $(libraries) -Wl,--end-group \
		$$(package_libs)
endef
$(foreach name,$(program_names),$(if $(main_$(name)),$(eval $(call program,$(name)))))

$(unit_programs): $(O)/tests/%: $(O)/tests/unit/%.o $(call objects,$(unit_helpers)) $(libraries)
	$(call say,LD)$(link) -o $@ $(filter %.o,$^) -Wl,--start-group $(libraries) -Wl,--end-group \
		$(package_libs) $(cmocka_libs)

$(tools): $(O)/tools/%: $(O)/tests/tools/%.o $(libraries)
	@mkdir -p $(@D)
	$(call say,LD)$(link) -o $@ $(filter %.o,$^) -Wl,--start-group $(libraries) -Wl,--end-group \
		$(package_libs)

$(bench_programs): $(O)/bench/%: $(O)/tests/bench/%.o $(libraries)
	@mkdir -p $(@D)
	$(call say,LD)$(link) -o $@ $(filter %.o,$^) -Wl,--start-group $(libraries) -Wl,--end-group \
		$(package_libs)

$(fuzz_programs): $(O)/fuzz/%: $(O)/tests/fuzz/%.o $(libraries)
	@mkdir -p $(@D)
	$(call say,LD)$(link) -fsanitize=fuzzer -o $@ $(filter %.o,$^) -Wl,--start-group $(libraries) \
		-Wl,--end-group $(package_libs)

# Seeds of tests/fuzz/fuzz_NAME.c: all files below tests/corpus/NAME.
.PHONY: fuzz-run
fuzz-run: $(fuzz_programs)
	dev/run-fuzz $(FUZZ_SECONDS) $(fuzz_programs)

-include $(patsubst %.c,$(O)/%.d,$(all_sources))
