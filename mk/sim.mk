# sim.mk - the simulation of the daemon's middle, tests/sim/README.md.
#
#   make sim SIM_SECONDS=600 SIM_SEED=7     look for faults; without a seed, another one each time
#
# `make check` runs the same cases each time (tests/run).
SIM_SECONDS ?= 20
SIM_SEED ?= $(shell date +%s)
SIM_SRC := $(wildcard tests/sim/*.c)
SIM_OBJ = $(SIM_SRC:%.c=$(BUILD)/%.o)
SIM = $(BUILD)/tests/sim/sim
SIM_LIBS = $(shell pkg-config --libs jansson sqlite3 libcrypto)

$(BUILD)/tests/sim/%.o: tests/sim/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -fPIE $(LIB_I) $(CORE_I) -Itests/sim $(PKGFLAGS) $(DEFS) -MMD -MP -c $< -o $@
$(SIM): $(SIM_OBJ) $(BUILD)/tests/core.a
	$(Q)$(CC) $(BASE) -pie -Wl,--wrap=close,--wrap=memfd_sealed,--wrap=stat,--wrap=statvfs $^ -o $@ $(SIM_LIBS)
sim: $(SIM)
	$(Q)$(SIM) --seconds $(SIM_SECONDS) --seed $(SIM_SEED)
# Does it find faults that were repaired? Builds a copy for each of tests/sim/faults/*.patch.
sim-faults:
	$(Q)tests/sim/faults/run
TEST_PARTS += $(SIM)
.PHONY: sim sim-faults
