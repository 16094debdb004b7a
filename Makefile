# The Indigo Listener. Knobs (make NAME=value):
#
#   PREFIX=/usr/local   where `install` puts things; SYSCONFDIR, LOCALSTATEDIR and RUNSTATEDIR
#                       follow the usual rules
#   DESTDIR=            staging folder put before every installed path
#   DEVELOPER=1         strict warnings as errors; `make lint` runs clang-tidy and cppcheck
#   SANITIZE=           build everything with these sanitizers: SANITIZE=address,undefined builds
#                       into build-address-undefined/
#   T=                  check: only tests whose name contains this
#   V=1                 show the commands
#
# Targets:
#   all         the daemon, the executors, the tools, the web pages
#   deps        install the Debian packages that are missing (root or sudo)
#   check       deps, all, every test
#   check-runsc    sandboxes with gVisor's kernel: docs/security.md
#   check-brokers  exactly once with other brokers: docs/exactly-once.md
#   check-web   the web pages in a real browser
#   demo        deps, all, a real event runs a real script
#   image       the sandbox image, into build/image.tar
#   install     put everything below DESTDIR and PREFIX
#   uninstall   remove what install put there
#   deb         Debian packages, into build/deb/; needs debhelper
#   check-deb   build, examine, install, use, remove and purge them in a bare Debian (SUITE=trixie)
#   clean       remove what was built, except the image and roots
#   bench       the figures of docs/performance.md
#   chaos       exactly once under every fault: docs/exactly-once.md
#   fuzz        the parsers, F=NAME for one of them
#   sim         the middle of the daemon in a simulated world: tests/sim/README.md
#   sim-faults  does the simulation find faults that were repaired?
#   lint        clang-tidy, cppcheck, function lengths
#   format      lay out the C files (clang-format 14)
#   manuals     renew what manuals say about keys
#   help        print this text
#
# mk/*.mk are the parts' own rules: an executor, the tests, the tools, the benchmark each bring
# theirs.

# What `deps` installs is seen only by a make that begins afterwards: with other goals beside it,
# in whatever order they stand, the others are the work of a second make.
OTHERS := $(filter-out deps,$(MAKECMDGOALS))
ifneq ($(and $(filter deps,$(MAKECMDGOALS)),$(OTHERS)),)
deps:
	@tools/deps
$(firstword $(OTHERS)): deps
	@$(MAKE) --no-print-directory $(OTHERS)
$(wordlist 2,$(words $(OTHERS)),$(OTHERS)): $(firstword $(OTHERS))
	@:
.PHONY: deps $(OTHERS)
else

PREFIX ?= /usr/local
SYSCONFDIR ?= $(if $(filter /usr,$(PREFIX)),/etc,$(PREFIX)/etc)
LOCALSTATEDIR ?= /var
RUNSTATEDIR ?= /run
BINDIR = $(PREFIX)/bin
SBINDIR = $(PREFIX)/sbin
LIBDIR = $(PREFIX)/lib/listenerd
MANDIR = $(PREFIX)/share/man
CC ?= gcc
comma := ,
BUILD = build$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))
VERSION := $(shell sed -n 's/^\#\# \([0-9][0-9.]*\).*/\1/p' CHANGELOG.md | head -n 1)

Q = $(if $(V),,@)
WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Wformat=2 -Wno-format-nonliteral -Wno-format-truncation
WARN += $(if $(findstring clang,$(CC)),-Wno-unknown-warning-option)
ifdef DEVELOPER
WARN += -Werror -Wundef -Wvla -Wnull-dereference -Wimplicit-fallthrough
endif
OPT ?= -O2 -g
HARDEN = -fstack-protector-strong -D_FORTIFY_SOURCE=2
SANFLAGS = $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer)
BASE = -std=gnu17 -D_GNU_SOURCE -include lib/banned.h $(OPT) $(WARN) $(if $(SANITIZE),-fno-sanitize-recover=undefined,$(HARDEN)) $(SANFLAGS) $(CFLAGS)
PKGS = libmosquitto jansson sqlite3 libcurl libsystemd libssl libcrypto inih
PKGFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
CORE_LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -ldl

# What is compiled in of the place it is built for. The header changes when one of them does, so
# that `make all && sudo make install PREFIX=/usr` compiles again what has another path in it, and
# only that.
PLACE = $(BUILD)/include/place.h
define PLACE_TEXT
#define LISTENER_VERSION "$(VERSION)"
#define LISTENER_SYSCONFDIR "$(SYSCONFDIR)/listenerd"
#define LISTENER_LIBDIR "$(LIBDIR)"
#define LISTENER_STATEDIR "$(LOCALSTATEDIR)/lib/listenerd"
#define LISTENER_RUNDIR "$(RUNSTATEDIR)/listenerd"
endef
PLACE_I = -I$(BUILD)/include

# The -I flags keep the rule of the house: a folder sees what it may use and nothing else, so that a
# call upwards does not compile. lib/ sees include/; core/ sees include/ and lib/; an executor sees
# include/, lib/, sandbox/ and executors/pool/; web/ sees lib/.
PUBLIC_I = -Iinclude
LIB_I = $(PUBLIC_I) -Ilib
# The folders of core/, each with those it may use; core/ itself holds the nouns below and the
# daemon above them all.
CORE_DIRS = core core/journal core/broker core/executors core/source core/source/cdmi core/control core/config core/operate
CORE_I = $(CORE_DIRS:%=-I%)
CORE_SEES_journal = journal
CORE_SEES_broker = broker
CORE_SEES_executors = executors
CORE_SEES_source = source journal
CORE_SEES_source_cdmi = source/cdmi source journal executors
CORE_SEES_control = control
CORE_SEES_config = config journal broker executors source source/cdmi control
CORE_SEES_operate = operate config journal broker executors source source/cdmi control
# core_i - the -I flags for the source file $(1).
core_i = $(if $(filter core/,$(dir $(1))),$(CORE_I),-Icore $(CORE_SEES_$(subst /,_,$(patsubst core/%/,%,$(dir $(1)))):%=-Icore/%))

LIB_SRC := $(wildcard lib/*.c)
CORE_SRC := $(filter-out core/main.c,$(foreach d,$(CORE_DIRS),$(wildcard $d/*.c)))
LIB_OBJ = $(LIB_SRC:%.c=$(BUILD)/%.o)
CORE_OBJ = $(CORE_SRC:%.c=$(BUILD)/%.o)

all: $(BUILD)/listenerd

-include mk/*.mk

.PHONY: FORCE
$(PLACE): export PLACE_TEXT := $(PLACE_TEXT)
$(PLACE): FORCE
	@pkg-config --exists --print-errors $(PKGS) || { echo "Packages to build with are missing: make deps installs them." >&2; exit 1; }
	@mkdir -p $(@D)
	@printf '%s\n' "$$PLACE_TEXT" | cmp -s - $@ || printf '%s\n' "$$PLACE_TEXT" >$@

$(BUILD)/lib/%.o: lib/%.c | $(PLACE)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -fPIC -fvisibility=hidden $(LIB_I) $(PKGFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/core/%.o: core/%.c | $(PLACE)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -fPIE $(LIB_I) $(PLACE_I) $(call core_i,$<) $(PKGFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/listenerd: $(BUILD)/core/main.o $(CORE_OBJ) $(LIB_OBJ)
	$(Q)$(CC) $(BASE) -pie $^ -o $@ $(CORE_LIBS)


help:
	@sed -n '2,/^$$/s/^# \{0,1\}//p' Makefile
clean:
	@for e in build/engine*; do [ ! -e $$e/engine ] || tools/private-engine stop $$e; done
	rm -rf $(filter-out build/image% build/test-root build/vm,$(wildcard build/* build-*))
.PHONY: all help clean
# Not below build/engine*, build/test-root, build/vm: those are file systems of containers and of
# tests.
-include $(shell find $(BUILD) \( -path '$(BUILD)/engine*' -o -path '$(BUILD)/test-root' -o -path '$(BUILD)/vm' \) -prune -o -name '*.d' -type f -print 2>/dev/null)
endif
