# docker-sandbox: the executor module, and portwall, its privileged helper.
DOCKER_SRC := $(filter-out executors/docker-sandbox/portwall.c,$(wildcard executors/docker-sandbox/*.c))
DOCKER_OBJ = $(DOCKER_SRC:%.c=$(BUILD)/%.o)
DOCKER_SANDBOX = $(BUILD)/executors/docker-sandbox.so $(BUILD)/libexec/portwall
DOCKER_I = $(LIB_I) -Iexecutors/sandbox

all: $(DOCKER_SANDBOX)

$(BUILD)/executors/docker-sandbox/%.o: executors/docker-sandbox/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -fPIC -fvisibility=hidden $(DOCKER_I) $(PKGFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/executors/docker-sandbox.so: $(DOCKER_OBJ) $(LIB_OBJ)
	$(Q)$(CC) $(BASE) -shared -Wl,-z,relro,-z,now $^ -o $@ $(shell pkg-config --libs libcurl jansson)
# Renamed into place: a helper that runs keeps the old file.
$(BUILD)/libexec/portwall: $(BUILD)/executors/docker-sandbox/portwall.o $(BUILD)/executors/docker-sandbox/wall_rules.o $(BUILD)/lib/util.o
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -Wl,-z,relro,-z,now $^ -o $@.new -lnftables && mv $@.new $@

# tests/docker: a host of its own for the module, without the rest of the daemon.
DOCKER_DRIVER = $(BUILD)/tests/docker/driver
TEST_PARTS += $(DOCKER_DRIVER)
$(BUILD)/tests/docker/driver.o: tests/docker/driver.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -fPIE $(LIB_I) -Icore $(PKGFLAGS) -MMD -MP -c $< -o $@
$(DOCKER_DRIVER): $(BUILD)/tests/docker/driver.o $(BUILD)/core/host.o $(BUILD)/core/log.o $(LIB_OBJ)
	$(Q)$(CC) $(BASE) -pie $^ -o $@ $(CORE_LIBS)

# The unit test takes the parts that read what others wrote.
DOCKER_UNIT = $(BUILD)/tests/unit/test_docker_sandbox
$(DOCKER_UNIT): $(DOCKER_UNIT).o $(foreach p,control engine engine_now options wall_rules,$(BUILD)/executors/docker-sandbox/$(p).o) \
		$(BUILD)/tests/core.a
	$(Q)$(CC) $(BASE) -pie $^ -o $@ $(CORE_LIBS) $(UNIT_LIBS)
