# fuzz.mk - the fuzz targets tests/fuzz/fuzz_NAME.c, with clang's libFuzzer, AddressSanitizer and
# UndefinedBehaviorSanitizer.
#
#   make fuzz FUZZ_SECONDS=600 [F=topic]     run each of them (or one) for this time; inputs that
#                                            cover new code go to $(BUILD)/tests/fuzz/new/NAME
#   make fuzz-corpus                         add the inputs of that folder that still cover
#                                            something new to tests/fuzz/corpus/NAME
#
# `make check` runs each for a few seconds (tests/run).
FUZZ_CC ?= clang
FUZZ_SECONDS ?= 60
FUZZ_BASE = -std=gnu17 -D_GNU_SOURCE -g -O1 $(WARN) -Wno-unknown-warning-option -Wno-string-concatenation -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined \
	    -fno-omit-frame-pointer
FUZZ_DIR = $(BUILD)/tests/fuzz
# core/ and docker-sandbox both have a control.h: each sees its own.
FUZZ_DOCKER_NAMES = engine frames host nft wall
FUZZ_I = $(LIB_I) $(if $(or $(filter executors/%,$<),$(filter $(FUZZ_DOCKER_NAMES:%=tests/fuzz/fuzz_%.c),$<)),-Iexecutors/docker-sandbox -Iexecutors/pool -Iexecutors/pool/portwall,$(CORE_I)) \
	 -Isandbox -Itests/fuzz
FUZZ_OBJ = $(FUZZ_DIR)/objects
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.c,%,$(filter-out tests/fuzz/fuzz_host.c,$(wildcard tests/fuzz/fuzz_*.c)))
FUZZ_TARGETS = $(FUZZ_NAMES:%=$(FUZZ_DIR)/fuzz_%)
FUZZ_CORE = $(CORE_SRC:%.c=$(FUZZ_OBJ)/%.o) $(LIB_SRC:%.c=$(FUZZ_OBJ)/%.o)
FUZZ_DOCKER = $(DOCKER_SRC:%.c=$(FUZZ_OBJ)/%.o) $(filter-out %/http.o,$(LIB_SRC:%.c=$(FUZZ_OBJ)/%.o))
FUZZ_LINK = $(FUZZ_CC) -fsanitize=fuzzer,address,undefined

# Only where there is a compiler for them; tools/deps brings it.
TEST_PARTS += $(if $(SANITIZE),,$(if $(shell command -v $(FUZZ_CC)),$(FUZZ_TARGETS)))

$(FUZZ_OBJ)/%.o: %.c | $(PLACE)
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(FUZZ_BASE) $(FUZZ_I) $(PLACE_I) $(PKGFLAGS) -MMD -MP -c $< -o $@
$(FUZZ_DIR)/core.a: $(FUZZ_CORE)
	$(Q)rm -f $@ && $(AR) rcs $@ $^
$(FUZZ_DIR)/docker.a: $(FUZZ_DOCKER)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# What each is linked with beside its own object: the daemon, or docker-sandbox without its HTTP
# client, or init's end of the connection.
FUZZ_FOR_DOCKER = $(FUZZ_OBJ)/tests/fuzz/fuzz_host.o $(FUZZ_DIR)/docker.a
FUZZ_PARTS_frames = $(FUZZ_FOR_DOCKER)
FUZZ_PARTS_engine = $(FUZZ_FOR_DOCKER)
FUZZ_PORTWALL = $(filter-out %/portwall.o,$(PORTWALL_SRC:%.c=$(FUZZ_OBJ)/%.o)) $(FUZZ_OBJ)/executors/pool/wall_request.o
FUZZ_PARTS_wall = $(FUZZ_PORTWALL)
FUZZ_PARTS_nft = $(FUZZ_PORTWALL)
FUZZ_PARTS_init = $(FUZZ_OBJ)/sandbox/control.o $(FUZZ_OBJ)/sandbox/cgroup.o
fuzz_parts = $(or $(FUZZ_PARTS_$(1)),$(FUZZ_DIR)/core.a)
define fuzz_rule
$(FUZZ_DIR)/fuzz_$(1): $(FUZZ_OBJ)/tests/fuzz/fuzz_$(1).o $(call fuzz_parts,$(1))
	@mkdir -p $(FUZZ_DIR)/new/$(1) tests/fuzz/corpus/$(1)
	$$(Q)$$(FUZZ_LINK) $$^ -o $$@ $$(CORE_LIBS) -lmnl
endef
$(foreach n,$(FUZZ_NAMES),$(eval $(call fuzz_rule,$(n))))

fuzz: $(if $(F),$(FUZZ_DIR)/fuzz_$(F),$(FUZZ_TARGETS))
	$(Q)for n in $(or $(F),$(FUZZ_NAMES)); do echo "== fuzz_$$n, $(FUZZ_SECONDS) s"; mkdir -p $(FUZZ_DIR)/new/$$n; \
		$(FUZZ_DIR)/fuzz_$$n -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 \
		-artifact_prefix=$(FUZZ_DIR)/found- $(FUZZ_DIR)/new/$$n tests/fuzz/corpus/$$n || exit 1; done
fuzz-corpus: $(FUZZ_TARGETS)
	$(Q)for n in $(FUZZ_NAMES); do $(FUZZ_DIR)/fuzz_$$n -merge=1 -max_len=4096 tests/fuzz/corpus/$$n $(FUZZ_DIR)/new/$$n 2>&1 | tail -n 1; done
.PHONY: fuzz fuzz-corpus
