# The reader serves its own description, compiled in so that it always fits the program.
lib_schemas := schemas/openapi_data.c

$(O)/schemas/openapi_data.c: schemas/openapi.json
	@mkdir -p $(@D)
	$(call say,GEN){ echo '#include "schemas/openapi.h"'; \
		echo 'const char openapi_json[] = {'; \
		od -An -v -tu1 $< | sed -E 's/ +([0-9]+)/\1,/g'; echo '0};'; \
		echo 'const size_t openapi_json_len = sizeof openapi_json - 1;'; } >$@

$(O)/schemas/openapi_data.o: $(O)/schemas/openapi_data.c $(O)/flags
	$(call say,CC)$(compile) -c -o $@ $<
