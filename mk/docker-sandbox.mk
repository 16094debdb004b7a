# docker-sandbox: the executor module with what sandbox executors share (executors/pool), and
# portwall, its privileged helper.
POOL_SRC := $(filter-out executors/pool/portwall.c,$(wildcard executors/pool/*.c))
POOL_OBJ = $(POOL_SRC:%.c=$(BUILD)/%.o)
DOCKER_SRC := $(POOL_SRC) $(wildcard executors/docker-sandbox/*.c)
DOCKER_OBJ = $(DOCKER_SRC:%.c=$(BUILD)/%.o)
DOCKER_SANDBOX = $(BUILD)/executors/docker-sandbox.so $(BUILD)/libexec/portwall
POOL_I = $(LIB_I) -Isandbox -Iexecutors/pool
DOCKER_I = $(POOL_I) -Iexecutors/docker-sandbox

all: $(DOCKER_SANDBOX)

$(BUILD)/executors/pool/%.o: executors/pool/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -fPIC -fvisibility=hidden $(POOL_I) $(PKGFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/executors/docker-sandbox/%.o: executors/docker-sandbox/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -fPIC -fvisibility=hidden $(DOCKER_I) $(PKGFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/executors/docker-sandbox.so: $(DOCKER_OBJ) $(LIB_OBJ)
	$(Q)$(CC) $(BASE) -shared -Wl,-z,relro,-z,now $^ -o $@ $(shell pkg-config --libs libcurl jansson)
# Renamed into place: a helper that runs keeps the old file.
$(BUILD)/libexec/portwall: $(BUILD)/executors/pool/portwall.o $(BUILD)/executors/pool/wall_rules.o $(BUILD)/lib/util.o $(BUILD)/lib/clock.o
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -Wl,-z,relro,-z,now $^ -o $@.new -lnftables && mv $@.new $@

# tests/docker: a host of its own for the module, without the rest of the daemon.
DOCKER_DRIVER = $(BUILD)/tests/docker/driver
TEST_PARTS += $(DOCKER_DRIVER)
$(BUILD)/tests/docker/driver.o: tests/docker/driver.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -fPIE $(LIB_I) $(CORE_I) $(PKGFLAGS) -MMD -MP -c $< -o $@
$(DOCKER_DRIVER): $(BUILD)/tests/docker/driver.o $(BUILD)/core/executors/host.o $(BUILD)/core/log.o $(LIB_OBJ)
	$(Q)$(CC) $(BASE) -pie $^ -o $@ $(CORE_LIBS)

# The unit test takes the parts that read what others wrote.
DOCKER_UNIT = $(BUILD)/tests/unit/test_docker_sandbox
POOL_UNIT_OBJ = $(addprefix $(BUILD)/executors/,$(addsuffix .o,pool/control pool/wall_rules docker-sandbox/engine docker-sandbox/engine_now pool/options))
$(DOCKER_UNIT): $(DOCKER_UNIT).o $(POOL_UNIT_OBJ) \
		$(BUILD)/tests/core.a
	$(Q)$(CC) $(BASE) -pie $^ -o $@ $(CORE_LIBS) $(UNIT_LIBS)
