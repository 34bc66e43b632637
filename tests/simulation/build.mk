# The simulation: the production loop over a simulated log and store (sim.h says how).
#
#   make sim                 SIM_SEEDS seeds (10,000) from SIM_FIRST (1) on
#   make sim SEED=7          that seed alone, with all that happens (SIM_ARGS=-q: without)
#   make mutations           that each deliberate defect of mutations/ is found
sim_objects := $(patsubst %.c,$(O)/%.o,$(filter-out %/main.c,$(call folder,tests/simulation)))
sim_libraries := $(foreach name,worker db common core,$(O)/lib/lib$(name).a)
# Functions that doubles.c stands in for.
sim_wraps := $(foreach name,backoff_init log_line jws_verify,-Wl,--wrap=$(name))
SIM_FIRST ?= 1
SIM_SEEDS ?= 10000

$(O)/tests/simulate: $(O)/tests/simulation/main.o $(sim_objects) $(sim_libraries)
	@mkdir -p $(@D)
	$(call say,LD)$(link) $(sim_wraps) -o $@ $(filter %.o,$^) -Wl,--start-group $(sim_libraries) \
		-Wl,--end-group $(package_libs)

# The unit test runs some seeds of it.
$(O)/tests/test_simulation: $(sim_objects)
$(O)/tests/test_simulation: LDFLAGS += $(sim_wraps)

tests: $(O)/tests/simulate

.PHONY: sim mutations
sim: $(O)/tests/simulate ## simulate 10,000 seeds, or SEED=n alone
	@$< $(if $(SEED),--seed $(SEED),--first $(SIM_FIRST) --seeds $(SIM_SEEDS)) $(SIM_ARGS)

mutations: ## deliberate defects, and after how many seeds the simulation finds each
	@tests/simulation/mutate

-include $(sim_objects:.o=.d) $(O)/tests/simulation/main.d
