# The router on its own: ns per match and bytes per filter, beside a linear scan with libmosquitto's
# matcher.
BENCH_ROUTER_OBJ = $(BUILD)/core/router.o $(BUILD)/core/arena.o $(BUILD)/core/topic.o $(BUILD)/lib/util.o
$(BUILD)/bench-router: tests/bench/router.c $(BENCH_ROUTER_OBJ)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) $(LIB_I) -Icore $(PKGFLAGS) -MMD -MP $^ -o $@ -lmosquitto
bench-router: $(BUILD)/bench-router
	$(Q)$(BUILD)/bench-router
.PHONY: bench-router
