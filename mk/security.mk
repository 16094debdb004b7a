# security.mk - what makes the daemon's standing: its user, who may read its configuration, and a
# look at the unit.
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d

# Before the rest of `install`, so that what it installs can be given to the group.
install: install-user
install-user:
	install -d $(DESTDIR)$(SYSUSERSDIR) $(DESTDIR)$(SYSCONFDIR)/listenerd
	install -m 644 conf.d/systemd/listenerd.sysusers $(DESTDIR)$(SYSUSERSDIR)/listenerd.conf
	$(if $(DESTDIR),,-command -v systemd-sysusers >/dev/null && systemd-sysusers $(SYSUSERSDIR)/listenerd.conf)
	$(if $(DESTDIR),,-getent group listenerd >/dev/null && chgrp listenerd $(SYSCONFDIR)/listenerd && chmod 2750 $(SYSCONFDIR)/listenerd)

# Exposure as systemd sees it, 0 the best, 10 the worst; fails above 2.
check-unit:
	@mkdir -p $(BUILD)/unit && sed -e 's|@SBINDIR@|/usr/sbin|g; s|@SYSCONFDIR@|/etc|g' conf.d/systemd/listenerd.service >$(BUILD)/unit/listenerd.service
	$(Q)systemd-analyze security --offline=true --threshold=20 --no-pager $(BUILD)/unit/listenerd.service | tail -n 1
.PHONY: install-user check-unit
