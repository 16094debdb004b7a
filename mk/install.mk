# install.mk - what goes where: daemon and web pages (sbin), listenerctl (bin), modules and helpers
# (lib/listenerd, root's alone: the daemon refuses modules that others can write), configuration
# (never overwritten), public headers, manual pages, the units and their users.
CONFDIR = $(SYSCONFDIR)/listenerd
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
INCLUDEDIR ?= $(PREFIX)/include
PKGCONFIGDIR ?= $(PREFIX)/share/pkgconfig
BASHCOMPDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHCOMPDIR ?= $(PREFIX)/share/zsh/$(if $(filter /usr,$(PREFIX)),vendor-completions,site-functions)
DOCDIR = $(PREFIX)/share/doc/listenerd
SCRIPTSDIR = $(LOCALSTATEDIR)/lib/listenerd/scripts
MANUALS := $(wildcard docs/man/*.[1-8])
CONFIGURATION := $(patsubst conf.d/%,%,$(wildcard conf.d/*.ini conf.d/conf.d/*.ini conf.d/conf.d/*.example))
D = $(DESTDIR)

install: all
	install -d $(addprefix $D,$(SBINDIR) $(BINDIR) $(LIBDIR)/executors $(LIBDIR)/libexec $(LIBDIR)/image $(CONFDIR)/conf.d \
		$(SCRIPTSDIR) $(UNITDIR) $(SYSUSERSDIR) $(INCLUDEDIR)/listener $(PKGCONFIGDIR) $(BASHCOMPDIR) $(ZSHCOMPDIR) $(DOCDIR) $(addprefix $(MANDIR)/man,$(sort $(subst .,,$(suffix $(MANUALS))))))
	install -m 755 $(BUILD)/listenerd $(BUILD)/listener-web $D$(SBINDIR)
	install -m 755 $(BUILD)/listenerctl $D$(BINDIR)
	install -m 644 conf.d/completion/listenerctl.bash $D$(BASHCOMPDIR)/listenerctl
	install -m 644 conf.d/completion/_listenerctl $D$(ZSHCOMPDIR)
	install -m 755 $(BUILD)/executors/*.so $D$(LIBDIR)/executors
	for f in $(BUILD)/libexec/*; do if [ -x $$f ]; then m=755; else m=644; fi; install -m $$m $$f $D$(LIBDIR)/libexec || exit 1; done
	install -m 755 tools/build-image tools/debian-sources tools/remove-sandboxes $D$(LIBDIR)
	install -m 644 tools/image/Dockerfile tools/image/requirements.txt $D$(LIBDIR)/image
	install -m 644 include/listener/*.h $D$(INCLUDEDIR)/listener
	$(pkgconfig) >$D$(PKGCONFIGDIR)/listenerd.pc
	for f in $(UNIT_USERS); do install -m 644 conf.d/systemd/$$f.sysusers $D$(SYSUSERSDIR)/$$f.conf || exit 1; done
	for f in $(UNITS); do $(call unit,$(SBINDIR),$(SYSCONFDIR),$$f) >$D$(UNITDIR)/$$f || exit 1; done
	for f in $(MANUALS); do install -m 644 $$f $D$(MANDIR)/man$${f##*.} || exit 1; done
	install -m 644 README.md LICENSE CHANGELOG.md SECURITY.md $(wildcard docs/*.md) conf.d/mosquitto/listenerd.conf $D$(DOCDIR)
	install -d $D$(DOCDIR)/monitoring
	install -m 644 $(wildcard docs/monitoring/*) $D$(DOCDIR)/monitoring
	$(foreach f,$(CONFIGURATION),$(call install_configuration,conf.d/$f,$D$(CONFDIR)/$f)$(newline))
	$(if $D,,$(GIVE_TO_USER))

# unit - the unit $(3) for the folder of the daemon $(1) and of the configuration's folder $(2).
unit = sed -e 's|@SBINDIR@|$(1)|g; s|@SYSCONFDIR@|$(2)|g' conf.d/systemd/$(3)
UNITS = listenerd.service listener-web.service listener-web.socket
UNIT_USERS = listenerd listener-web

# pkgconfig - for executors that are built outside of this tree: the headers, and where a module
# goes.
ABI = $(shell sed -n 's/^.define LSN_ABI_$(1) //p' include/listener/executor.h)
pkgconfig = printf '%s\n' 'includedir=$(INCLUDEDIR)' 'executordir=$(LIBDIR)/executors' 'abi=$(call ABI,MAJOR).$(call ABI,MINOR)' '' \
	'Name: listenerd' 'Description: executors of the Indigo Listener' 'Version: $(VERSION)' 'Cflags: -I$${includedir}'

# install_configuration - what an administrator may have changed stays; a new version of ours then
# stands beside it. A file that is as we ship it has nothing beside it.
define newline


endef
install_configuration = if ! [ -e $(2) ]; then install -m 640 $(1) $(2); \
	elif cmp -s $(1) $(2); then rm -f $(2).new; else install -m 640 $(1) $(2).new; fi

# The daemon reads its configuration through its group. Folders pass the group on to the files that
# root puts there later.
GIVE_TO_USER = if command -v systemd-sysusers >/dev/null; then systemd-sysusers $(UNIT_USERS:%=$(SYSUSERSDIR)/%.conf); fi; \
	if getent group listenerd >/dev/null; then chgrp -R listenerd $(CONFDIR) && chmod 2750 $(CONFDIR) $(CONFDIR)/conf.d; fi; \
	if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi

# Configuration, journal and scripts are the administrator's and stay, and so does the user they
# belong to. The daemon ends with its sandboxes, also those that it left running for the next start.
uninstall:
	$(if $D,,$(END_SERVICE))
	rm -f $(addprefix $D,$(SBINDIR)/listenerd $(SBINDIR)/listener-web $(BINDIR)/listenerctl $(UNITS:%=$(UNITDIR)/%) \
		$(UNIT_USERS:%=$(SYSUSERSDIR)/%.conf) $(PKGCONFIGDIR)/listenerd.pc $(BASHCOMPDIR)/listenerctl $(ZSHCOMPDIR)/_listenerctl) \
		$(foreach f,$(MANUALS),$D$(MANDIR)/man$(subst .,,$(suffix $f))/$(notdir $f)) $(patsubst %,$D$(CONFDIR)/%.new,$(CONFIGURATION))
	rm -rf $D$(LIBDIR) $D$(DOCDIR) $D$(INCLUDEDIR)/listener
	$(if $D,,if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi)
END_SERVICE = if [ -d /run/systemd/system ]; then systemctl --quiet disable --now $(UNITS) 2>/dev/null || true; fi; \
	[ ! -x $(SBINDIR)/listenerd ] || tools/remove-sandboxes $(SBINDIR)/listenerd; rm -rf $(RUNSTATEDIR)/listenerd
.PHONY: install uninstall

# Exposure as systemd sees it, 0 the best, 10 the worst; fails above 2, for the web pages above 1.
check-unit:
	@mkdir -p $(BUILD)/unit && for f in $(UNITS); do $(call unit,/usr/sbin,/etc,$$f) >$(BUILD)/unit/$$f || exit 1; done
	$(Q)systemd-analyze security --offline=true --threshold=20 --no-pager $(BUILD)/unit/listenerd.service | tail -n 1
	$(Q)systemd-analyze security --offline=true --threshold=10 --no-pager $(BUILD)/unit/listener-web.service | tail -n 1
.PHONY: check-unit
