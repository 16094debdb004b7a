# manuals.mk - what is made from the tables of keys, and committed: the shipped INI files and the
# manual pages that list keys. `make manuals` renews them; a test tells which are not current.
# A module's table of keys is the options.c of its folder, or of the folder named here.
OPTIONS_docker-sandbox = executors/pool
OPTIONS_json-lines = executors/json-lines
MODULE_HELP = $(BUILD)/help/docker-sandbox $(BUILD)/help/json-lines
.SECONDEXPANSION:
$(MODULE_HELP): $(BUILD)/help/%: tools/module-help.c $$(OPTIONS_$$*)/options.c $$(OPTIONS_$$*)/options.h \
		$(BUILD)/lib/util.o $(BUILD)/lib/parse.o
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -fPIE -pie $(LIB_I) -I$(OPTIONS_$*) $(filter-out %.h,$^) -o $@

manuals: $(BUILD)/listenerd $(MODULE_HELP)
	$(Q)LISTENER_BUILD=$(BUILD) tools/config-doc
.PHONY: manuals

TEST_PARTS += $(MODULE_HELP)
unit: $(BUILD)/listenerd $(MODULE_HELP)
