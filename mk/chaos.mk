# chaos.mk - the fault harness: is every event run once? docs/exactly-once.md.
CHAOS_SECONDS ?= 120
CHAOS_SEED ?= 1
CHAOS_RATE ?= 30
chaos: deps
	$(Q)$(MAKE) --no-print-directory all
	$(Q)LISTENER_BUILD=$(BUILD) tools/chaos --seconds $(CHAOS_SECONDS) --seed $(CHAOS_SEED) --rate $(CHAOS_RATE)
.PHONY: chaos
