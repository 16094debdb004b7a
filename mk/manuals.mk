# manuals.mk - what is made from the tables of keys, and committed: the shipped INI files and the manual pages that list keys. `make manuals` renews
# them; a test tells which are not current. A module has a manual if its options.c has options_help().
MODULE_HELP := $(patsubst executors/%/options.c,$(BUILD)/help/%,$(wildcard executors/*/options.c))
$(BUILD)/help/%: tools/module-help.c executors/%/options.c executors/%/options.h $(BUILD)/lib/util.o $(BUILD)/lib/parse.o
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -fPIE -pie $(LIB_I) -Iexecutors/$* $(filter-out %.h,$^) -o $@

manuals: $(BUILD)/listenerd $(MODULE_HELP)
	$(Q)LISTENER_BUILD=$(BUILD) tools/config-doc
.PHONY: manuals

TEST_PARTS += $(MODULE_HELP)
unit: $(BUILD)/listenerd $(MODULE_HELP)
