# web.mk - listener-web: the control socket as web pages. It sees lib/ only.
WEB_SRC := $(wildcard web/*.c)
WEB_OBJ = $(WEB_SRC:%.c=$(BUILD)/%.o)
WEB_LIB_OBJ = $(addprefix $(BUILD)/lib/,util.o clock.o parse.o metrics_text.o visible.o metrics_text.o)
WEB_STYLE = $(BUILD)/include/style.h
WEB_CFLAGS := $(shell pkg-config --cflags libmicrohttpd 2>/dev/null)
WEB_LIBS := $(shell pkg-config --libs jansson libmicrohttpd libsystemd 2>/dev/null) -lm
PKGS += libmicrohttpd

all: $(BUILD)/listener-web
# The style sheet as a string of C.
$(WEB_STYLE): web/style.css
	@mkdir -p $(@D)
	@{ echo 'static const char style_css[] ='; sed 's/[\\"]/\\&/g; s/.*/"&\\n"/' $<; echo ';'; } >$@
$(BUILD)/web/page_style.o: $(WEB_STYLE)
$(BUILD)/web/%.o: web/%.c | $(PLACE)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -fPIE $(LIB_I) $(PLACE_I) $(PKGFLAGS) $(WEB_CFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/listener-web: $(WEB_OBJ) $(WEB_LIB_OBJ)
	$(Q)$(CC) $(BASE) -pie -Wl,-z,relro,-z,now $^ -o $@ $(WEB_LIBS)

# The unit tests take what has no socket.
$(foreach t,html hosts,$(BUILD)/tests/unit/test_$(t).o): UNIT_I += -Iweb
$(BUILD)/tests/unit/test_html: $(BUILD)/web/html.o $(BUILD)/web/base64.o $(WEB_LIB_OBJ)
$(BUILD)/tests/unit/test_hosts: $(BUILD)/web/hosts.o $(WEB_LIB_OBJ)
LINT_SRC += $(WEB_SRC)
lint: $(WEB_STYLE)

# The pages in Chromium, with pictures of each in $(BUILD)/web-pictures, and with axe, which finds
# faults of accessibility; needs the network; three minutes; not part of check. Selenium is the
# system's Python's.
check-web:
	$(Q)tools/deps --tests --web
	$(Q)$(MAKE) --no-print-directory all
	$(Q)LISTENER_BUILD=$(BUILD) /usr/bin/python3 tests/web/browser.py $(T)
.PHONY: check-web
