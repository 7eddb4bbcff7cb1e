# GNU make: MinGW-w64 gcc, as a cross compiler on Linux (the server then runs
# under Wine) or natively on Windows (MSYS2, or mingw32-make at a prompt).
# For Microsoft's compiler there is NMakefile.
#
# `make help` lists the targets.

ARCH  = x86_64
PORT  = 9190
ARGS  =
LESSON = --list
BENCH =
SECONDS = 1200
SEED  = 1
PARTS =
TOOLS =
BUILD = build

SOURCES = main options log server listener registry connection buffer worker \
          work trace
STEPS   = step1_completion_routine step2_iocp
# Version and manifest: the .rc file says with what else it is made.
RESOURCE  = iocp_echo_server
RESOURCES = src/$(RESOURCE).rc src/$(RESOURCE).manifest src/version.h

CFLAGS  = -std=c11 -O2 -Wall -Wextra -Wpedantic -Wconversion -Werror
LDLIBS  = -lws2_32

# For Microsoft's compiler and linker. NMakefile has the same, but for the
# linker's default there, /highentropyva.
MSVC_CFLAGS  = /nologo /W4 /WX /std:c11 /O2 /guard:cf
MSVC_RCFLAGS = /nologo /i src
MSVC_LDFLAGS = /nologo /guard:cf /dynamicbase /nxcompat /highentropyva \
               /largeaddressaware /manifest:no
MSVC_LIBS    = ws2_32.lib

# ------------------------------ where this is -------------------------------

ifeq ($(OS),Windows_NT)
  CC      = gcc
  WINDRES = windres
  PYTHON  = python
  SETUP   =
  BUILDS  = $(ARCH)
else
  CC      = $(ARCH)-w64-mingw32-gcc
  WINDRES = $(ARCH)-w64-mingw32-windres
  PYTHON  = python3
  SETUP   = sh scripts/setup.sh
  BUILDS  = x86_64 i686 msvc
endif

# cmd.exe, which mingw32-make uses where there is no sh, keeps the quotes.
ifeq ($(shell echo "quoted"),"quoted")
  make_directory   = if not exist $(subst /,\,$(1)) mkdir $(subst /,\,$(1))
  remove_directory = if exist $(subst /,\,$(1)) rmdir /s /q $(subst /,\,$(1))
  remove_file      = if exist $(subst /,\,$(1)) del $(subst /,\,$(1))
else
  make_directory   = mkdir -p $(1)
  remove_directory = rm -rf $(1)
  remove_file      = rm -f $(1)
endif

# The x86-64 build is the one that runs; another stands beside its objects.
# Recent linkers do by default what HARDEN asks for, older ones do not.
OBJDIR = $(BUILD)/$(ARCH)
ifeq ($(ARCH),x86_64)
  PROGRAM = $(BUILD)/iocp_echo_server.exe
  STEPDIR = $(BUILD)/steps
  HARDEN  = -Wl,--dynamicbase,--nxcompat,--high-entropy-va
else
  PROGRAM = $(OBJDIR)/iocp_echo_server.exe
  STEPDIR = $(OBJDIR)/steps
  HARDEN  = -Wl,--dynamicbase,--nxcompat,--large-address-aware
endif
OBJECTS = $(SOURCES:%=$(OBJDIR)/%.o) $(OBJDIR)/$(RESOURCE).res.o
STEP_PROGRAMS = $(STEPS:%=$(STEPDIR)/%.exe)

# The same sources with their calls under control: see tests/checked.
CHECKED_OBJDIR  = $(BUILD)/checked
CHECKED_PROGRAM = $(CHECKED_OBJDIR)/iocp_echo_server.exe
CHECKED_EXTRA   = faults guard delays
CHECKED_OBJECTS = $(SOURCES:%=$(CHECKED_OBJDIR)/%.o) \
                  $(CHECKED_EXTRA:%=$(CHECKED_OBJDIR)/%.o)

MSVC_OBJDIR  = $(BUILD)/msvc
MSVC_PROGRAM = $(MSVC_OBJDIR)/iocp_echo_server.exe
MSVC_OBJECTS = $(SOURCES:%=$(MSVC_OBJDIR)/%.obj) \
               $(MSVC_OBJDIR)/$(RESOURCE).res
MSVC_STEPDIR = $(MSVC_OBJDIR)/steps
MSVC_STEP_PROGRAMS = $(STEPS:%=$(MSVC_STEPDIR)/%.exe)

# --------------------------------- targets ----------------------------------

.PHONY: all steps run demo bench test test-guarded test-i686 soak analyze
.PHONY: clean distclean help setup setup-msvc x86_64 i686 msvc checked

all: $(PROGRAM)

# Linux only: what is missing is installed first, nothing if all is there.
setup:
	@$(if $(SETUP),$(SETUP) $(ARCH),)

$(PROGRAM): $(OBJECTS)
	$(CC) $(HARDEN) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(OBJDIR)/%.o: src/%.c Makefile | setup $(OBJDIR)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(OBJDIR)/$(RESOURCE).res.o: $(RESOURCES) Makefile | setup $(OBJDIR)
	$(WINDRES) -I src -o $@ $<

# The chapter's road: each step is a program of one file, for itself.
steps: $(STEP_PROGRAMS)

$(STEPDIR)/%.exe: src/steps/%.c Makefile | setup $(STEPDIR)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(HARDEN) $(LDFLAGS) -o $@ $< $(LDLIBS)

checked: $(CHECKED_PROGRAM)

$(CHECKED_PROGRAM): $(CHECKED_OBJECTS)
	$(CC) -o $@ $^ $(LDLIBS)

$(CHECKED_OBJDIR)/%.o: src/%.c Makefile | setup $(CHECKED_OBJDIR)
	$(CC) $(CFLAGS) -include tests/checked/checked.h -MMD -MP -c -o $@ $<

$(CHECKED_OBJDIR)/%.o: tests/checked/%.c Makefile | setup $(CHECKED_OBJDIR)
	$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(OBJDIR) $(STEPDIR) $(CHECKED_OBJDIR) $(MSVC_OBJDIR) $(MSVC_STEPDIR):
	@$(call make_directory,$@)

-include $(OBJECTS:.o=.d) $(CHECKED_OBJECTS:.o=.d)

x86_64 i686:
	@$(MAKE) --no-print-directory ARCH=$@ all steps

# What NMakefile builds with Microsoft's compiler, as far as that can be had on
# Linux: clang in its place, Wine's headers and libraries.
msvc: $(MSVC_PROGRAM) $(MSVC_STEP_PROGRAMS)

setup-msvc:
	@$(if $(SETUP),$(SETUP) msvc,)

$(MSVC_PROGRAM): $(MSVC_OBJECTS)
	$(PYTHON) scripts/msvc.py link $(MSVC_LDFLAGS) /out:$@ $^ $(MSVC_LIBS)

$(MSVC_OBJDIR)/%.obj: src/%.c $(wildcard src/*.h) scripts/msvc.py Makefile \
                      | setup-msvc $(MSVC_OBJDIR) $(MSVC_STEPDIR)
	$(PYTHON) scripts/msvc.py cl $(MSVC_CFLAGS) /c /Fo$@ $<

$(MSVC_STEP_PROGRAMS): %.exe: %.obj
	$(PYTHON) scripts/msvc.py link $(MSVC_LDFLAGS) /out:$@ $< $(MSVC_LIBS)

$(MSVC_OBJDIR)/%.res: src/%.rc $(RESOURCES) scripts/msvc.py Makefile \
                      | setup-msvc $(MSVC_OBJDIR)
	$(PYTHON) scripts/msvc.py rc $(MSVC_RCFLAGS) /fo$@ $<

run: $(PROGRAM)
	@$(if $(SETUP),$(SETUP) wine,)
	@$(PYTHON) scripts/launch.py $(PROGRAM) $(PORT) $(ARGS)

demo: $(PROGRAM)
	@$(if $(SETUP),$(SETUP) wine,)
	@$(PYTHON) scripts/demo.py $(LESSON)

bench: $(PROGRAM) steps
	@$(if $(SETUP),$(SETUP) wine,)
	@$(PYTHON) scripts/bench.py --server $(PROGRAM) --steps $(STEPDIR) $(BENCH)

test: $(BUILDS) checked
	@$(if $(SETUP),$(SETUP) wine pytest browser analysis,)
	@$(PYTHON) scripts/run_tests.py $(TESTS)

soak: $(PROGRAM) checked
	@$(if $(SETUP),$(SETUP) wine,)
	@$(PYTHON) tests/soak.py --seconds "$(SECONDS)" --seed "$(SEED)" \
	    --parts "$(PARTS)" -- $(ARGS)

# The black box: the tests that ask how the programs at SERVER and STEPS behave,
# whatever build they are. Not those about something else, nor those that need
# another build (own_build).
OTHERS = test_nmake.py or test_executable.py or test_client.py or \
         test_trace_view.py or test_windows_branches.py or \
         test_windows_scripts.py or test_analysis.py or test_ci.py or \
         test_model.py or test_demo.py or test_bad_servers.py or \
         test_bench.py or test_soak.py or test_wine32.py
BLACK_BOX = -m "not own_build" -k "not ($(OTHERS)$(1))"

# The server's tests, twice: on the guarded build (and those of that build), and
# on the usual one with Wine's heap checking on. On Linux only.
test-guarded: $(BUILDS) checked
	@$(if $(SETUP),$(SETUP) wine pytest,)
	SERVER=$(CHECKED_PROGRAM) CHECKS=guard $(PYTHON) scripts/run_tests.py \
	    $(or $(TESTS),-q -k "not ($(OTHERS) or test_steps.py)")
	CHECKS=heap $(PYTHON) scripts/run_tests.py \
	    $(or $(TESTS),-q $(call BLACK_BOX, or test_steps.py))

# The 32-bit programs, under the Wine of Debian's architecture i386, which this
# adds. Wine's prefix is made again if it was made without. On Linux only.
test-i686: i686
	@$(if $(SETUP),$(SETUP) wine wine32 pytest,)
	@[ -e build/wine/drive_c/windows/syswow64/ntdll.dll ] || rm -rf build/wine
	SERVER=$(BUILD)/i686/iocp_echo_server.exe STEPS=$(BUILD)/i686/steps \
	    $(PYTHON) scripts/run_tests.py $(or $(TESTS),-q $(BLACK_BOX))

# What can be found without running anything; nothing may be. It needs tools
# that Linux has: the sources are the same on Windows.
analyze:
	@$(if $(SETUP),$(SETUP) x86_64 analysis,)
	@$(PYTHON) scripts/analyze.py $(TOOLS)

clean:
	@$(call remove_directory,$(BUILD)/x86_64)
	@$(call remove_directory,$(BUILD)/i686)
	@$(call remove_directory,$(MSVC_OBJDIR))
	@$(call remove_directory,$(CHECKED_OBJDIR))
	@$(call remove_directory,$(BUILD)/steps)
	@$(call remove_file,$(BUILD)/iocp_echo_server.exe)

# Wine's prefix too, which takes a while to make again.
distclean:
	@$(call remove_directory,$(BUILD))

help:
	@echo "make                    build $(BUILD)/iocp_echo_server.exe"
	@echo "make ARCH=i686          build the 32-bit one, under $(BUILD)/i686"
	@echo "make steps              build the chapter's servers, in $(BUILD)/steps"
	@echo "make msvc               in clang's MSVC mode, under $(BUILD)/msvc"
	@echo "make run PORT=9190      build and start it; Ctrl+C stops it"
	@echo "make run ARGS=--help    what else it takes: ARGS=\"-v --workers 4\""
	@echo "make demo               list the demonstrations for a class"
	@echo "make demo LESSON=cycle  show one: build/demo/cycle.html"
	@echo "make bench              measure it: all modes, the steps, side by side"
	@echo "make bench BENCH=\"--quick --html build/bench.html\"   or --help"
	@echo "make test               build all, run all tests"
	@echo "make test TESTS=\"-k stop\"   some of them: arguments for pytest"
	@echo "make soak               load it for half an hour, and say if it held"
	@echo "make soak SECONDS=60 PARTS=mixed ARGS=\"--workers 4\""
	@echo "                        a part of that: tests/soak.py --help lists them"
	@echo "make test-guarded       the server's tests where memory is guarded"
	@echo "make test-i686          them on the 32-bit programs; adds Debian's i386"
	@echo "make analyze            clang-format, cppcheck, gcc's analyzer, clang-tidy"
	@echo "make analyze TOOLS=gcc  one of them: format, cppcheck, gcc, tidy"
	@echo "make clean              remove what was built"
	@echo "make distclean          remove Wine's prefix too"
