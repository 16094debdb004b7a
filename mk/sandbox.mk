# The run-time inside a sandbox. Static and without sanitizers: it is bind-mounted into images of
# any distribution.

SANDBOX_SRC := $(wildcard sandbox/*.c)
SANDBOX_OBJ = $(SANDBOX_SRC:%.c=$(BUILD)/%.o)
SANDBOX_BASE = $(filter-out $(SANFLAGS) -fno-sanitize-recover=undefined,$(BASE)) -fPIE
SANDBOX_FILES = $(BUILD)/libexec/sandbox-init $(BUILD)/libexec/forkserver.py $(BUILD)/libexec/seccomp.json

all: sandbox
sandbox: $(SANDBOX_FILES)
# Needs a Docker engine and the image of scripts.
check-sandbox: sandbox
	SANDBOX_LIBEXEC=$(CURDIR)/$(BUILD)/libexec python3 tests/sandbox/test_sandbox.py
.PHONY: sandbox check-sandbox

$(BUILD)/sandbox/%.o: sandbox/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(SANDBOX_BASE) -Isandbox -Iinclude -MMD -MP -c $< -o $@
# A new file beside the old one, then renamed: containers that run have the old one mapped.
$(BUILD)/libexec/sandbox-init: $(SANDBOX_OBJ)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SANDBOX_BASE) -static-pie -Wl,-z,relro,-z,now,-z,noexecstack $^ -o $@.new && mv $@.new $@
$(BUILD)/libexec/forkserver.py $(BUILD)/libexec/seccomp.json: $(BUILD)/libexec/%: sandbox/%
	@mkdir -p $(@D)
	$(Q)cp $< $@.new && mv $@.new $@
# The contract tests with the Python of any Debian that the mirror has.
IMAGES ?= bullseye bookworm trixie forky sid
check-images: sandbox
	LISTENER_BUILD=$(BUILD) tests/run --images $(IMAGES)
.PHONY: check-images
