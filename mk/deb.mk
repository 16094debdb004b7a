# deb.mk - packages for Debian, made of what git knows: build/deb/*.deb.
deb:
	$(Q)command -v dpkg-buildpackage >/dev/null && command -v dh >/dev/null || { echo "dpkg-dev and debhelper are missing: apt install debhelper" >&2; exit 1; }
	rm -rf build/deb && mkdir -p build/deb/listenerd
	git ls-files -z | xargs -0 cp -a --parents -t build/deb/listenerd
	cd build/deb/listenerd && env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL dpkg-buildpackage -b -us -uc
	rm -rf build/deb/listenerd
	ls build/deb/*.deb
# Built, examined, installed into a bare Debian, used, removed, purged. Needs root and the network;
# not part of check. SUITE: bookworm or trixie.
check-deb:
	$(Q)tests/deb/run $(or $(SUITE),bookworm)
.PHONY: deb check-deb
