# tests.mk - builds the tests; tests/run runs them.
#
# tests/unit/test_X.c becomes $(BUILD)/tests/unit/test_X, linked with all of core/ and lib/ (as an
# archive: what tests/unit/X_stubs.c defines comes first). A test that needs more has a rule of its
# own in its part's fragment. Other things tests need (bad plugins, helpers) are added to TEST_PARTS
# there.

UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT_TESTS = $(UNIT_SRC:%.c=$(BUILD)/%)
UNIT_LIBS = $(shell pkg-config --libs check 2>/dev/null)
UNIT_I = $(LIB_I) $(CORE_I) -Isandbox -Itests -Iexecutors/pool

$(BUILD)/tests/core.a: $(CORE_OBJ) $(LIB_OBJ)
	@mkdir -p $(@D) && rm -f $@
	$(Q)$(AR) rcs $@ $^
$(BUILD)/tests/unit/%.o: tests/unit/%.c | $(PLACE)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -fPIE $(UNIT_I) $(PLACE_I) $(PKGFLAGS) -DTEST_BUILD='"$(BUILD)"' -MMD -MP -c $< -o $@
.SECONDEXPANSION:
$(BUILD)/tests/unit/test_%: $(BUILD)/tests/unit/test_%.o $$(addprefix $(BUILD)/,$$(addsuffix .o,$$(basename $$(wildcard tests/unit/$$*_stubs.c)))) $(BUILD)/tests/core.a
	$(Q)$(CC) $(BASE) -pie -rdynamic $^ -o $@ $(CORE_LIBS) $(UNIT_LIBS)
.PRECIOUS: $(BUILD)/tests/unit/%.o

# What tests/run expects to find.
tests: all $(UNIT_TESTS) $$(TEST_PARTS)
# A second make: on a machine without the packages the first has found no pkg-config yet. It
# compiles on all processors unless the caller says how many.
check: $(filter demo,$(MAKECMDGOALS))
	$(Q)tools/deps --tests
	$(Q)$(MAKE) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc)) tests
	$(Q)$(MAKE) --no-print-directory check-installed
check-installed: tests
	$(Q)LISTENER_BUILD=$(BUILD) tests/run $(T)
unit: $(UNIT_TESTS)
	$(Q)LISTENER_BUILD=$(BUILD) tests/run --only unit $(T)
# Brokers of Debian 12, Debian 13 and npm, 2,000 events each; needs root and the network, takes
# about
# ten minutes; not part of check.
check-brokers: tests
	$(Q)LISTENER_BUILD=$(BUILD) LISTENER_BROKERS=1 python3 tests/system/37-brokers.py $(T)
.PHONY: tests check check-installed check-brokers unit
# All attacks and the contract under gVisor's kernel; needs root; about five minutes; not part of
# check.
check-runsc: tests
	$(Q)LISTENER_BUILD=$(BUILD) LISTENER_RUNSC=1 python3 tests/system/43-sandbox-runtime.py $(T)
.PHONY: check-runsc
# A booted Debian, SUITE=bookworm or trixie: up to 20 minutes with KVM, 90 without; not part of
# check.
check-vm:
	$(Q)tools/deps --tests --vm
	$(Q)tests/vm/run $(or $(SUITE),trixie)
.PHONY: check-vm
