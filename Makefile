# weir: the only Makefile. `make run` shows it, `make test` proves it; `make help` lists the rest.
# Everything generated goes below $(BUILD); sources are found by wildcard, dependencies by the compilers.

# --- tools and flags ---------------------------------------------------------------------------------------------

VERSION    := 0.1.0
BUILD      ?= build
PREFIX     ?= /usr/local
DESTDIR    ?=
ARCH       ?= $(shell uname -m)
CC         ?= gcc
CLANG      ?= clang
CFORMAT    ?= clang-format
BPFTOOL    ?= $(or $(shell command -v bpftool),/usr/sbin/bpftool)
PKG_CONFIG ?= pkg-config
PYTEST     ?= /usr/bin/python3 -m pytest

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all help deps deps-build run test check e2e kernels jdks fuzz fuzz-replay bpf-test bench bench-check lint fmt install clean
all:

# V=1 shows the commands, otherwise one short line each.
ifeq ($(V),1)
msg = @:
Q   =
else
msg = @printf '  %-8s %s\n' '$(1)' '$(2)';
Q   = @
endif

# What must be there, with the least version that has what is used.
LIBS       := libbpf:1.1 libelf:0.180 zlib:1.2 libcurl:7.88 libprotobuf-c:1.4 libmicrohttpd:0.9.70 jansson:2.13 \
	      yaml-0.1:0.2.5 ncursesw:6.2 libcap-ng:0.8 libseccomp:2.5
LIB_NAMES  := $(foreach lib,$(LIBS),$(firstword $(subst :, ,$(lib))))
lib_check   = $(PKG_CONFIG) --atleast-version=$(lastword $(subst :, ,$(1))) $(firstword $(subst :, ,$(1)))

USER_WARN  := -Wall -Wextra -Werror -Wshadow -Wvla -Wmissing-prototypes -Wstrict-prototypes \
	      -Wmissing-field-initializers -Wformat=2 -Wundef -Wno-unused-parameter
USER_FLAGS := -std=gnu11 -O2 -g -D_GNU_SOURCE -DWEIR_VERSION='"$(VERSION)"' -Iuser -iquote bpf -I$(BUILD)/gen \
	      -ffile-prefix-map=$(CURDIR)=. -fstack-protector-strong -fno-strict-aliasing -fPIE -pthread
SAN_FLAGS  := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -U_FORTIFY_SOURCE
LD_FLAGS   := -pie -pthread -Wl,--as-needed -Wl,-z,relro
LD_LIBS     = $(shell $(PKG_CONFIG) --libs $(LIB_NAMES)) -lm

# The kernel half uses the uapi headers of the build machine; clang's bpf target has no multiarch search path.
BPF_ARCH   := $(patsubst aarch64,arm64,$(patsubst x86_64,x86,$(ARCH)))
BPF_FLAGS  := -target bpf -mcpu=v3 -std=gnu11 -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter -D__TARGET_ARCH_$(BPF_ARCH) -Ivmlinux -Ibpf \
	      -idirafter /usr/include/$(ARCH)-linux-gnu -ffile-prefix-map=$(CURDIR)=. -fno-stack-protector

# --- what there is -----------------------------------------------------------------------------------------------

BPF_SRC    := $(wildcard bpf/*.bpf.c)
SKELS      := $(BPF_SRC:bpf/%.bpf.c=$(BUILD)/gen/%.skel.h)
PROTO_SRC  := $(shell find proto -name '*.proto' 2>/dev/null)
PROTO_C    := $(PROTO_SRC:proto/%.proto=$(BUILD)/gen/%.pb-c.c)
PROTO_H    := $(PROTO_C:.c=.h)
USER_SRC   := $(shell find user -name '*.c')
MAIN_SRC   := $(wildcard user/main.c)
LIB_SRC    := $(filter-out user/main.c,$(USER_SRC))
UNIT_SRC   := $(wildcard tests/unit/*_test.c)
BPFT_SRC   := $(wildcard tests/bpf/*_test.c)
FUZZ_SRC   := $(wildcard tests/fuzz/*_fuzz.c)
UNIT       := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/tests/unit/%)
BPFT       := $(BPFT_SRC:tests/bpf/%.c=$(BUILD)/tests/bpf/%)
FUZZ       := $(FUZZ_SRC:tests/fuzz/%.c=$(BUILD)/tests/fuzz/%)
C_FILES     = $(shell find bpf user vmlinux tests -name '*.[ch]')
GEN        := $(SKELS) $(PROTO_H)

# --- the program -------------------------------------------------------------------------------------------------

# Three builds of the same sources: obj (what ships), san (ASan and UBSan, unit tests, SAN=1), fuzz (clang, libFuzzer).
WEIR       := $(BUILD)/$(if $(SAN),san/)weir
all: $(SKELS) $(BUILD)/obj/libweir.a $(if $(MAIN_SRC),$(WEIR))

$(BUILD)/libs.ok: Makefile
	@mkdir -p $(@D)
	@$(foreach lib,$(LIBS),$(call lib_check,$(lib)) || { echo "weir needs $(subst :, >= ,$(lib)): make deps" >&2; exit 1; };)
	@touch $@

# $(1): directory below BUILD, $(2): compiler, $(3): its flags
define variant
$(BUILD)/$(1)/%.o: %.c $(BUILD)/libs.ok | $(PROTO_H)
	$$(call msg,CC,$$@)
	@mkdir -p $$(@D)
	$$(Q)$(2) $(USER_FLAGS) $(3) -MMD -MP -c $$< -o $$@

$(BUILD)/$(1)/gen/%.pb-c.o: $(BUILD)/gen/%.pb-c.c
	$$(call msg,CC,$$@)
	@mkdir -p $$(@D)
	$$(Q)$(2) $(USER_FLAGS) $(3) -w -MMD -MP -c $$< -o $$@

$(BUILD)/$(1)/libweir.a: $(LIB_SRC:%.c=$(BUILD)/$(1)/%.o) $(PROTO_C:$(BUILD)/gen/%.c=$(BUILD)/$(1)/gen/%.o)
	$$(call msg,AR,$$@)
	@mkdir -p $$(@D)
	$$(Q)rm -f $$@ && ar rcsD $$@ $$^
endef
$(eval $(call variant,obj,$(CC),$(USER_WARN) -D_FORTIFY_SOURCE=2))
$(eval $(call variant,san,$(CC),$(USER_WARN) $(SAN_FLAGS)))
$(eval $(call variant,fuzz,$(CLANG),$(SAN_FLAGS) -fsanitize=fuzzer-no-link))

# A skeleton is made before the file that includes it; once compiled, its .d file says the same.
skel_user = $(foreach src,$(shell grep -l '"$(notdir $(1))"' $(USER_SRC) /dev/null),\
	    $(foreach dir,obj san fuzz,$(eval $(BUILD)/$(dir)/$(src:.c=.o): | $(1))))
$(foreach skel,$(SKELS),$(call skel_user,$(skel)))

$(BUILD)/weir: $(BUILD)/obj/user/main.o $(BUILD)/obj/libweir.a
	$(call msg,LINK,$@)
	$(Q)$(CC) $(LD_FLAGS) $^ $(LD_LIBS) -o $@

$(BUILD)/san/weir: $(BUILD)/san/user/main.o $(BUILD)/san/libweir.a
	$(call msg,LINK,$@)
	$(Q)$(CC) $(LD_FLAGS) $(SAN_FLAGS) $^ $(LD_LIBS) -o $@

# --- the kernel half and other generated sources -------------------------------------------------------------------

# bpftool's linker drops the debugging sections that only a debugger reads: the object goes into the binary.
$(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c Makefile
	$(call msg,BPF,$@)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_FLAGS) -MMD -MP -MT $@ -MF $(@:.o=.d) -c $< -o $(@:.o=.full.o)
	$(Q)$(BPFTOOL) gen object $@ $(@:.o=.full.o)

$(BUILD)/gen/%.skel.h: $(BUILD)/bpf/%.bpf.o
	$(call msg,SKEL,$@)
	@mkdir -p $(@D)
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf > $@

$(BUILD)/gen/%.pb-c.c $(BUILD)/gen/%.pb-c.h &: proto/%.proto
	$(call msg,PROTO,$@)
	@mkdir -p $(@D)
	$(Q)protoc-c --proto_path=proto --c_out=$(BUILD)/gen $<

# --- tests -------------------------------------------------------------------------------------------------------

$(BUILD)/tests/unit/%: $(BUILD)/san/tests/unit/%.o $(BUILD)/san/libweir.a
	$(call msg,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LD_FLAGS) $(SAN_FLAGS) $^ $(LD_LIBS) -lcmocka -o $@

$(BUILD)/tests/bpf/%: $(BUILD)/obj/tests/bpf/%.o $(BUILD)/obj/libweir.a
	$(call msg,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LD_FLAGS) $^ $(LD_LIBS) -lcmocka -o $@

$(BUILD)/tests/fuzz/%: $(BUILD)/fuzz/tests/fuzz/%.o $(BUILD)/fuzz/libweir.a
	$(call msg,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(LD_FLAGS) $(SAN_FLAGS) -fsanitize=fuzzer $^ $(LD_LIBS) -o $@

.PRECIOUS: $(BUILD)/obj/%.o $(BUILD)/san/%.o $(BUILD)/fuzz/%.o $(BUILD)/bpf/%.bpf.o
export BUILD WEIR FUZZ_SECONDS

check: $(UNIT)
	@tests/lib/run-unit $(UNIT)
bpf-test: all $(BPFT)
	@tests/lib/run-unit $(BPFT)
	@$(if $(wildcard tests/bpf/test_*.py),$(PYTEST) tests/bpf)
e2e: all
	@$(PYTEST) tests/e2e $(PYTEST_ARGS)
kernels: all
	@tests/kernels/run $(KERNELS)
jdks: all
	@JDKS=$$(awk '/^[0-9]/ { printf "%s%s", n++ ? "," : "", $$1 }' tests/jdks/list) $(PYTEST) -s tests/e2e/test_jvm_versions.py
fuzz-replay: $(FUZZ)
	@tests/lib/run-fuzz replay $(FUZZ)
fuzz: $(FUZZ)
	@tests/lib/run-fuzz search $(FUZZ)
bench-check: all
	@tests/bench/check
bench: all
	@tests/bench/run
	@tests/bench/sched
	@tests/bench/jvm
lint: $(GEN)
	@tests/lint/run
test: deps
	@BUILD=$(BUILD) tests/run
run: deps-build
	@$(MAKE) --no-print-directory all
	@deploy/demo/run $(WEIR)

# --- the rest ----------------------------------------------------------------------------------------------------

fmt:
	$(Q)$(CFORMAT) -i $(C_FILES)

install: all
	install -D -m 755 $(BUILD)/weir $(DESTDIR)$(PREFIX)/bin/weir
	install -D -m 644 deploy/weir.1 $(DESTDIR)$(PREFIX)/share/man/man1/weir.1
	install -D -m 644 deploy/weir.service $(DESTDIR)$(PREFIX)/lib/systemd/system/weir.service
	sed -i 's|/usr/local/bin/weir|$(PREFIX)/bin/weir|' $(DESTDIR)$(PREFIX)/lib/systemd/system/weir.service

clean:
	rm -rf $(BUILD)

DEPS_BUILD := gcc make pkg-config clang bpftool libbpf-dev libelf-dev zlib1g-dev linux-libc-dev libcurl4-openssl-dev \
	      libprotobuf-c-dev protobuf-c-compiler protobuf-compiler libmicrohttpd-dev libjansson-dev libyaml-dev \
	      uthash-dev libncurses-dev libcap-ng-dev libseccomp-dev python3
DEPS_TEST  := libcmocka-dev libclang-rt-14-dev clang-format mandoc python3-pytest python3-aiohttp python3-yaml \
	      python3-prometheus-client openssl \
	      nginx lighttpd apache2 apache2-utils nodejs openjdk-17-jdk-headless wrk curl runc iproute2 nftables linux-perf procps mount \
	      qemu-system-x86 busybox-static debian-archive-keyring cpio zstd xz-utils jq git liburing-dev
deps-build:
	@tests/lib/install-packages $(DEPS_BUILD)
deps:
	@tests/lib/install-packages $(DEPS_BUILD) $(DEPS_TEST)

help:
	@echo 'make            build $(WEIR)'
	@echo 'make run        install what is missing, build, show a demonstration (DEMO=0: only this machine)'
	@echo 'make test       install what is missing, build, run every test of this machine'
	@echo 'make check      unit tests under ASan and UBSan, no root'
	@echo 'make e2e        real servers, real containers (root)         PYTEST_ARGS="-k nginx"'
	@echo 'make kernels    other kernels under qemu                     KERNELS="oldest newest"'
	@echo 'make jdks       other Java versions, downloaded (root)'
	@echo 'make fuzz       search with libFuzzer                        FUZZ_SECONDS=600'
	@echo 'make bench      figures of cost                  make lint   house rules    make fmt    format'
	@echo 'make install    DESTDIR= PREFIX=/usr/local       make deps   packages only  make clean'
	@echo 'variables       BUILD=dir  V=1 (show commands)  SAN=1 (sanitizers)  ARCH='

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
