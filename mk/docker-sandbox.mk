# docker-sandbox: the executor module with what sandbox executors share (executors/pool), and
# portwall, its privileged helper.
POOL_SRC := $(wildcard executors/pool/*.c)
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
# portwall: of the pool it knows the request only. Renamed into place: a helper that runs keeps the
# old file.
PORTWALL_SRC := $(wildcard executors/pool/portwall/*.c)
PORTWALL_OBJ = $(PORTWALL_SRC:%.c=$(BUILD)/%.o) $(BUILD)/executors/pool/wall_request.o
$(BUILD)/executors/pool/portwall/%.o: executors/pool/portwall/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -fPIE $(LIB_I) -Iexecutors/pool -Iexecutors/pool/portwall -MMD -MP -c $< -o $@
$(BUILD)/libexec/portwall: $(PORTWALL_OBJ) $(BUILD)/lib/util.o $(BUILD)/lib/clock.o
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -pie -Wl,-z,relro,-z,now $^ -o $@.new -lmnl && mv $@.new $@

# tests/docker: a host of its own for the module, without the rest of the daemon.
DOCKER_DRIVER = $(BUILD)/tests/docker/driver
TEST_PARTS += $(DOCKER_DRIVER)
$(BUILD)/tests/docker/driver.o: tests/docker/driver.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -fPIE $(LIB_I) $(CORE_I) $(PKGFLAGS) -MMD -MP -c $< -o $@
$(DOCKER_DRIVER): $(BUILD)/tests/docker/driver.o $(BUILD)/core/executors/host.o $(BUILD)/core/stall.o $(BUILD)/core/log.o $(LIB_OBJ)
	$(Q)$(CC) $(BASE) -pie $^ -o $@ $(CORE_LIBS)

# The unit test takes the parts that read what others wrote.
DOCKER_UNIT = $(BUILD)/tests/unit/test_docker_sandbox
POOL_UNIT_OBJ = $(addprefix $(BUILD)/executors/,$(addsuffix .o,pool/control pool/output pool/options pool/resolver_file pool/wall_request docker-sandbox/contract docker-sandbox/engine docker-sandbox/engine_now docker-sandbox/pulse docker-sandbox/settings pool/problem))
PORTWALL_UNIT = $(BUILD)/tests/unit/test_portwall
PORTWALL_UNIT_OBJ = $(filter-out %/portwall.o %/nft_socket.o,$(PORTWALL_OBJ))
$(PORTWALL_UNIT).o: UNIT_I += -Iexecutors/pool
$(PORTWALL_UNIT): $(PORTWALL_UNIT).o $(PORTWALL_UNIT_OBJ) $(BUILD)/tests/core.a
	$(Q)$(CC) $(BASE) -pie $^ -o $@ $(CORE_LIBS) $(UNIT_LIBS) -lmnl
$(DOCKER_UNIT).o: UNIT_I += -Iexecutors/docker-sandbox
$(DOCKER_UNIT): $(DOCKER_UNIT).o $(POOL_UNIT_OBJ) \
		$(BUILD)/tests/core.a
	$(Q)$(CC) $(BASE) -pie $^ -o $@ $(CORE_LIBS) $(UNIT_LIBS)

# Likewise the parts of a pool that only count.
$(foreach n,output tenants room pressure,$(eval $(BUILD)/tests/unit/test_$(n): $(BUILD)/executors/pool/$(n).o))
