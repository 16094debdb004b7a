# chaos.mk - the fault harness: is every event run once? docs/exactly-once.md.
CHAOS_SECONDS ?= 120
CHAOS_SEED ?= 1
CHAOS_RATE ?= 30
CHAOS_CLOCK = $(BUILD)/tests/chaos/clock.so

$(CHAOS_CLOCK): tests/chaos/clock.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -fPIC -shared $< -o $@
TEST_PARTS += $(CHAOS_CLOCK)
chaos: deps
	$(Q)$(MAKE) --no-print-directory all $(CHAOS_CLOCK)
	$(Q)LISTENER_BUILD=$(BUILD) tools/chaos --seconds $(CHAOS_SECONDS) --seed $(CHAOS_SEED) --rate $(CHAOS_RATE)
.PHONY: chaos
