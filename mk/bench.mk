# bench.mk - every figure of docs/performance.md, side by side with what a user would do instead.
# BENCH_QUICK=1 takes fewer repeats.
BENCH_PROGRAMS = $(BUILD)/bench-router $(BUILD)/bench-publish $(BUILD)/bench-spawn
TEST_PARTS += $(BENCH_PROGRAMS)  # make check builds them, so that what breaks them is seen

$(BUILD)/bench-publish: tests/bench/publish.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) $< -o $@ -lmosquitto
$(BUILD)/bench-spawn: tests/bench/spawn.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) $< -o $@

bench:
	$(Q)tools/deps --bench
	$(Q)$(MAKE) --no-print-directory all $(BENCH_PROGRAMS)
	$(Q)LISTENER_BUILD=$(BUILD) tools/bench
.PHONY: bench
