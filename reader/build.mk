# The reader's description is part of the program: the two cannot come apart.
lib_reader += reader/openapi_data.c

$(O)/reader/openapi_data.c: schemas/openapi.json
	@mkdir -p $(@D)
	$(call say,GEN){ echo '#include "reader/openapi.h"'; \
		echo 'const char openapi_json[] = {'; \
		od -An -v -tu1 $< | sed -E 's/ +([0-9]+)/\1,/g'; echo '0};'; \
		echo 'const size_t openapi_json_len = sizeof openapi_json - 1;'; } >$@

$(O)/reader/openapi_data.o: $(O)/reader/openapi_data.c $(O)/flags
	$(call say,CC)$(compile) -c -o $@ $<
