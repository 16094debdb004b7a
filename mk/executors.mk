# The modules that need only the public headers: json-lines, and the executors of the tests, most of
# them deliberately bad. docker-sandbox has a fragment of its own. One symbol is exported
# (LSN_EXPORT), all else is hidden.
JSON_LINES = $(BUILD)/executors/json-lines.so
JSON_LINES_SRC := $(wildcard executors/json-lines/*.c)
all: $(JSON_LINES)
$(JSON_LINES): $(JSON_LINES_SRC) $(wildcard executors/json-lines/*.h include/listener/*.h)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -fPIC -fvisibility=hidden -shared $(PUBLIC_I) $(JSON_LINES_SRC) -o $@ $(shell pkg-config --cflags --libs jansson libcrypto)

# tests/plugins/bad_major.c makes bad-major.so: a module's name has no underscore.
plugin_so = $(patsubst %.c,$(BUILD)/tests/plugins/%.so,$(subst _,-,$(notdir $(1))))
TEST_PLUGINS := $(foreach c,$(wildcard tests/plugins/*.c),$(call plugin_so,$(c)))
define plugin_rule
$(call plugin_so,$(1)): $(1)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(BASE) -fPIC -fvisibility=hidden -shared $$(PUBLIC_I) -MMD -MP -MF $$(@:.so=.d) $$< -o $$@
endef
$(foreach c,$(wildcard tests/plugins/*.c),$(eval $(call plugin_rule,$(c))))

$(BUILD)/tests/unit/test_executors $(foreach t,clock commands dispatcher holds intake turn,$(BUILD)/tests/unit/test_$t): | $(TEST_PLUGINS) $(JSON_LINES)
TEST_PARTS += $(TEST_PLUGINS) $(JSON_LINES)
