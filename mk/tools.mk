# tools.mk - listenerctl, the sandbox image, packages, demo, installation, lint.

CTL_SRC := $(wildcard tools/listenerctl/*.c)
CTL_OBJ = $(CTL_SRC:%.c=$(BUILD)/%.o)
CTL_LIBS := $(shell pkg-config --libs jansson libcrypto 2>/dev/null)

all: $(BUILD)/listenerctl
$(BUILD)/tools/listenerctl/%.o: tools/listenerctl/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -fPIE $(LIB_I) -Itools/listenerctl $(PKGFLAGS) $(DEFS) -MMD -MP -c $< -o $@
$(BUILD)/listenerctl: $(CTL_OBJ) $(LIB_OBJ)
	$(Q)$(CC) $(BASE) -pie $(CTL_OBJ) $(filter %/util.o %/clock.o %/parse.o %/file.o,$(LIB_OBJ)) -o $@ $(CTL_LIBS)

deps:
	$(Q)tools/deps
image:
	$(Q)tools/build-image --keep build/image.tar
demo: deps
	$(Q)$(MAKE) --no-print-directory all
	$(Q)LISTENER_BUILD=$(BUILD) tools/demo
.PHONY: deps image demo

# Installed as: the daemon (sbin), listenerctl (bin), modules and helpers (lib/listenerd, root's
# alone: the daemon refuses modules others can write), configuration (never overwritten), manual
# pages, the unit. Files that are not built (yet) are left out.
INSTALLED_CONF = $(DESTDIR)$(SYSCONFDIR)/listenerd
UNITDIR ?= $(PREFIX)/lib/systemd/system
DOCDIR = $(PREFIX)/share/doc/listenerd
MODULES = $(wildcard $(BUILD)/executors/*.so)
LIBEXEC = $(wildcard $(BUILD)/libexec/*)

install: all
	install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(BINDIR) $(DESTDIR)$(LIBDIR)/executors $(DESTDIR)$(LIBDIR)/libexec $(INSTALLED_CONF)/conf.d \
		$(DESTDIR)$(INSTALLED_SCRIPTS) $(DESTDIR)$(UNITDIR) $(DESTDIR)$(DOCDIR)
	install -m 755 $(BUILD)/listenerd $(DESTDIR)$(SBINDIR)
	install -m 755 $(BUILD)/listenerctl $(DESTDIR)$(BINDIR)
	$(if $(MODULES),install -m 755 $(MODULES) $(DESTDIR)$(LIBDIR)/executors)
	for f in $(LIBEXEC); do if [ -x $$f ]; then m=755; else m=644; fi; install -m $$m $$f $(DESTDIR)$(LIBDIR)/libexec; done
	install -m 755 tools/build-image $(DESTDIR)$(LIBDIR)
	install -d $(DESTDIR)$(LIBDIR)/image && install -m 644 tools/image/Dockerfile tools/image/requirements.txt $(DESTDIR)$(LIBDIR)/image
	cd conf.d && for f in *.ini conf.d/*.ini conf.d/*.example; do [ -e $$f ] || continue; \
		[ -e $(INSTALLED_CONF)/$$f ] && t=$$f.new || t=$$f; install -m 640 $$f $(INSTALLED_CONF)/$$t; done
	for f in conf.d/mosquitto/*.conf; do [ ! -e $$f ] || install -m 644 $$f $(DESTDIR)$(DOCDIR); done
	sed -e 's|@SBINDIR@|$(SBINDIR)|g; s|@SYSCONFDIR@|$(SYSCONFDIR)|g' conf.d/systemd/listenerd.service >$(DESTDIR)$(UNITDIR)/listenerd.service
	for f in docs/man/*.[1-8]; do [ -e $$f ] || continue; s=$${f##*.}; install -d $(DESTDIR)$(MANDIR)/man$$s; \
		install -m 644 $$f $(DESTDIR)$(MANDIR)/man$$s; done
	install -m 644 README.md LICENSE CHANGELOG.md $(wildcard docs/*.md) $(DESTDIR)$(DOCDIR)
	$(if $(DESTDIR),,-systemctl daemon-reload 2>/dev/null)
# Configuration, journal and scripts are the administrator's: they stay.
uninstall:
	rm -f $(DESTDIR)$(SBINDIR)/listenerd $(DESTDIR)$(BINDIR)/listenerctl $(DESTDIR)$(UNITDIR)/listenerd.service
	rm -rf $(DESTDIR)$(LIBDIR) $(DESTDIR)$(DOCDIR)
	for f in docs/man/*.[1-8]; do rm -f $(DESTDIR)$(MANDIR)/man$${f##*.}/$${f##*/}; done
.PHONY: install uninstall
INSTALLED_SCRIPTS = $(LOCALSTATEDIR)/lib/listenerd/scripts

LINT_SRC = $(CORE_SRC) core/main.c $(wildcard lib/*.c sandbox/*.c executors/*/*.c tools/*/*.c)
# cppcheck knows nothing of our cleanup attributes (memleak, resourceLeak), does not see that the
# macros of <sys/queue.h> set what they iterate over (uninitvar), nor that a list head may have no
# name (syntaxError), and takes the pointer that arena.c keeps in a spare thing for a mistake
# (pointerSize). One process for each file: with many in one, clang-tidy mixes up headers of one
# name (there are three control.h) and files that change meanwhile.
lint:
	$(Q)printf '%s\n' $(LINT_SRC) | xargs -P $$(nproc) -I{} clang-tidy --quiet {} -- -std=gnu17 -D_GNU_SOURCE $(LIB_I) $(CORE_I) -Isandbox -Iexecutors/pool \
		-Itools/listenerctl $(PKGFLAGS) $(DEFS)
	$(Q)cppcheck --quiet --error-exitcode=1 --enable=warning,portability,performance --inline-suppr --suppress=missingIncludeSystem \
		--suppress=memleak --suppress=resourceLeak --suppress=unknownMacro --suppress=uninitvar --suppress=syntaxError:core/intake.c --suppress=pointerSize:core/arena.c \
		--std=c11 -D_GNU_SOURCE -D__x86_64__ -DLISTENER_VERSION='""' $(LIB_I) $(CORE_I) -Isandbox -Iexecutors/pool $(LINT_SRC)
	$(Q)tools/function-lengths $(LINT_SRC)
	$(Q)tools/structure
# The layout of C files is clang-format's to decide; version 14, as in Debian 12, is the one that counts.
FORMAT_SRC = $(shell git ls-files '*.c' '*.h')
CLANG_FORMAT ?= $(firstword $(shell command -v clang-format-14 clang-format 2>/dev/null))
format:
	$(Q)$(CLANG_FORMAT) -i $(FORMAT_SRC)
.PHONY: lint format
