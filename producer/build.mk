# libberth for other programs: a shared and a static library that export only the functions of berth.h.
# Berth's own programs link the objects of $(lib_berth) instead.
#
# Both are made from one relocatable object, which includes the code of lib/ and core/ used by
# producer/; all names except those in packaging/libberth0.symbols become local. So a program may
# define its own xmalloc.
berth_version := $(shell sed -n 's/^.define BERTH_VERSION "\(.*\)"/\1/p' lib/base/version.h)
# Increased with each incompatible change of berth.h (docs/versions.md).
berth_abi := 0
berth_soname := libberth.so.$(berth_abi)
berth_file := $(berth_soname).$(word 2,$(subst ., ,$(berth_version))).$(word 3,$(subst ., ,$(berth_version)))
berth_packages := rdkafka jansson libjwt libcrypto glib-2.0
berth_symbols := packaging/libberth0.symbols
berth_files := $(O)/libberth/$(berth_file) $(O)/libberth/libberth.a
# Not built with sanitizers, which other programs could not link.
all: $(if $(sanitize),,$(berth_files))

pic_objects = $(patsubst %.c,$(O)/pic/%.o,$(1))
# A shared library needs position-independent code, unlike the programs' objects.
$(O)/pic/%.o: %.c $(O)/flags
	@mkdir -p $(@D)
	$(call say,CC)$(compile) -fPIC -fno-semantic-interposition -c -o $@ $<

# An archive, so that the linker takes only the objects used by producer/.
$(O)/libberth/below.a: $(call pic_objects,$(lib_common) $(lib_core))
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR)$(AR) rcs $@ $^

$(O)/libberth/exported: $(berth_symbols)
	@mkdir -p $(@D)
	$(call say,GEN)sed -nE 's/^ (berth_[a-z0-9_]+)@BERTH_$(berth_abi) .*/\1/p' $< >$@

$(O)/libberth/version-script: $(O)/libberth/exported
	$(call say,GEN){ echo 'BERTH_$(berth_abi) { global:'; sed 's/$$/;/' $<; echo 'local: *; };'; } >$@

$(O)/libberth/berth.o: $(call pic_objects,$(lib_berth)) $(O)/libberth/below.a $(O)/libberth/exported
	$(call say,LD)$(CC) $(CFLAGS) -r -nostdlib -o $@ $(filter %.o %.a,$^)
	@$(OBJCOPY) --keep-global-symbols=$(O)/libberth/exported $@

$(O)/libberth/libberth.a: $(O)/libberth/berth.o
	@rm -f $@
	$(call say,AR)$(AR) rcs $@ $<

$(O)/libberth/$(berth_file): $(O)/libberth/berth.o $(O)/libberth/version-script
	$(call say,LD)$(link) -shared -Wl,-soname,$(berth_soname) -Wl,-z,defs -Wl,--as-needed \
		-Wl,--version-script,$(O)/libberth/version-script -o $@ $< \
		$(shell $(PKG_CONFIG) --libs $(berth_packages) 2>&-) -lpthread -lm

.PHONY: install-libberth
install-libberth: $(berth_files)
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(PREFIX)/include
	install -m 644 producer/include/berth.h $(DESTDIR)$(PREFIX)/include/
	install -m 644 $(berth_files) $(DESTDIR)$(LIBDIR)/
	ln -sf $(berth_file) $(DESTDIR)$(LIBDIR)/$(berth_soname)
	ln -sf $(berth_soname) $(DESTDIR)$(LIBDIR)/libberth.so
	sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(berth_version)|' \
		-e 's|@PACKAGES@|$(berth_packages)|' producer/berth.pc.in \
		>$(DESTDIR)$(LIBDIR)/pkgconfig/berth.pc

-include $(patsubst %.o,%.d,$(call pic_objects,$(lib_berth) $(lib_common) $(lib_core)))
