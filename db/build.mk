# The migrations are part of the library: a program and its schema cannot come apart.
migration_files := $(sort $(wildcard db/migrations/[0-9]*.sql))
lib_db += db/migrations_data.c

$(O)/db/migrations_data.c: db/embed-migrations $(migration_files)
	@mkdir -p $(@D)
	db/embed-migrations $(migration_files) >$@

$(O)/db/migrations_data.o: $(O)/db/migrations_data.c $(O)/flags
	$(compile) -c -o $@ $<
