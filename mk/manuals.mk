# manuals.mk - what is made from the tables of keys, and committed: the shipped INI files and the
# manual pages that list keys. `make manuals` renews them; a test tells which are not current.
# A module's table of keys stands in these files.
OPTIONS_docker-sandbox = executors/docker-sandbox/settings.c executors/pool/options.c
OPTIONS_json-lines = executors/json-lines/options.c
MODULE_HELP = $(BUILD)/help/docker-sandbox $(BUILD)/help/json-lines
.SECONDEXPANSION:
$(MODULE_HELP): $(BUILD)/help/%: tools/module-help.c $$(OPTIONS_$$*) $$(OPTIONS_$$*:.c=.h) $(BUILD)/lib/util.o $(BUILD)/lib/parse.o $(BUILD)/lib/file.o
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -fPIE -pie $(LIB_I) $(patsubst %/,-I%,$(sort $(dir $(OPTIONS_$*)))) $(filter-out %.h,$^) -o $@

manuals: $(BUILD)/listenerd $(MODULE_HELP)
	$(Q)LISTENER_BUILD=$(BUILD) tools/config-doc
.PHONY: manuals

TEST_PARTS += $(MODULE_HELP)
unit: $(BUILD)/listenerd $(MODULE_HELP)
