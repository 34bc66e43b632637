# The migrations are compiled into the library, so a program always carries its schema.
migration_files := $(sort $(wildcard db/migrations/[0-9]*.sql))
lib_db += db/migrations_data.c

$(O)/db/migrations_data.c: db/embed-migrations $(migration_files)
	@mkdir -p $(@D)
	$(call say,GEN)db/embed-migrations $(migration_files) >$@

$(O)/db/migrations_data.o: $(O)/db/migrations_data.c $(O)/flags
	$(call say,CC)$(compile) -c -o $@ $<

# The store's tests need a server, so integration-tests/test_store.py runs them.
store_test_objects := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard tests/store/*.c)))
store_test_libraries := $(foreach name,db common core,$(O)/lib/lib$(name).a)
all: $(if $(store_test_objects),$(O)/tools/test_store)
$(O)/tools/test_store: $(store_test_objects) $(store_test_libraries)
	@mkdir -p $(@D)
	$(call say,LD)$(link) -o $@ $(filter %.o,$^) -Wl,--start-group $(store_test_libraries) -Wl,--end-group \
		$(package_libs) $(cmocka_libs)
-include $(store_test_objects:.o=.d)
