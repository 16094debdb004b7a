# tools.mk - listenerctl, the sandbox image, packages, demo, lint.

CTL_SRC := $(wildcard tools/listenerctl/*.c)
CTL_OBJ = $(CTL_SRC:%.c=$(BUILD)/%.o)
CTL_LIBS := $(shell pkg-config --libs jansson libcrypto 2>/dev/null)

# The events of samples.txt as a string of C.
SAMPLES = $(BUILD)/include/samples.h
$(SAMPLES): tools/listenerctl/samples.txt
	@mkdir -p $(@D)
	$(Q)sed 's/["\\]/\\&/g; s/.*/"&\\n"/' $< >$@

all: $(BUILD)/listenerctl
$(BUILD)/tools/listenerctl/samples.o: $(SAMPLES)
$(BUILD)/tools/listenerctl/%.o: tools/listenerctl/%.c | $(PLACE)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -fPIE $(LIB_I) $(PLACE_I) -Itools/listenerctl $(PKGFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/listenerctl: $(CTL_OBJ) $(LIB_OBJ)
	$(Q)$(CC) $(BASE) -pie $(CTL_OBJ) $(filter %/util.o %/clock.o %/parse.o %/file.o %/metrics_text.o %/visible.o,$(LIB_OBJ)) -o $@ $(CTL_LIBS)

deps:
	$(Q)tools/deps
image:
	$(Q)tools/build-image --keep build/image.tar
demo: deps
	$(Q)$(MAKE) --no-print-directory all
	$(Q)LISTENER_BUILD=$(BUILD) tools/demo
.PHONY: deps image demo

LINT_SRC = $(CORE_SRC) core/main.c $(wildcard lib/*.c sandbox/*.c executors/*/*.c tools/*/*.c)
# cppcheck knows nothing of our cleanup attributes (memleak, resourceLeak), does not see that the
# macros of <sys/queue.h> set what they iterate over (uninitvar), nor that a list head may have no
# name (syntaxError), and takes the pointer that arena.c keeps in a spare thing for a mistake
# (pointerSize). One process for each file: with many in one, clang-tidy mixes up headers of one
# name (there are three control.h) and files that change meanwhile.
lint: $(PLACE) $(SAMPLES)
	$(Q)printf '%s\n' $(LINT_SRC) | xargs -P $$(nproc) -I{} clang-tidy --quiet {} -- -std=gnu17 -D_GNU_SOURCE $(LIB_I) $(CORE_I) -Isandbox -Iexecutors/pool \
		-Itools/listenerctl $(PLACE_I) $(PKGFLAGS)
	$(Q)cppcheck --quiet --error-exitcode=1 --enable=warning,portability,performance --inline-suppr --suppress=missingIncludeSystem \
		--suppress=memleak --suppress=resourceLeak --suppress=unknownMacro --suppress=uninitvar --suppress=syntaxError:core/intake.c --suppress=pointerSize:core/arena.c \
		--std=c11 -D_GNU_SOURCE -D__x86_64__ $(PLACE_I) $(LIB_I) $(CORE_I) -Isandbox -Iexecutors/pool $(LINT_SRC)
	$(Q)tools/function-lengths
	$(Q)tools/structure
# The layout of C files is clang-format's to decide; version 14, as in Debian 12, is the one that
# counts.
FORMAT_SRC = $(shell git ls-files '*.c' '*.h')
CLANG_FORMAT ?= $(firstword $(shell command -v clang-format-14 clang-format 2>/dev/null))
format:
	$(Q)$(CLANG_FORMAT) -i $(FORMAT_SRC)
.PHONY: lint format
