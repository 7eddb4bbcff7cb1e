# For GNU make and MinGW-w64's gcc: on Linux a cross compiler (the server then
# runs under Wine), on Windows a native one (MSYS2, or mingw32-make at a
# prompt). NMakefile is for Microsoft's compiler.

define HELP
make                    build $(BUILD)/iocp_echo_server.exe
make CFLAGS=-O0         the same without optimization
make ARCH=i686          build the 32-bit one, under $(BUILD)/i686
make steps              build the chapter's servers, in $(BUILD)/steps
make steps-diff FROM=4  what step 5 changes: here, and build/steps/4-5.html
make msvc               in clang's MSVC mode, under $(BUILD)/msvc
make msvc SDK=build/sdk the same with Microsoft's SDK, under $(BUILD)/msvc-sdk
make sdk                fetch that with dotnet: 1 GB, under Microsoft's licence
make checked            with calls that fail on demand, under $(BUILD)/checked
make run PORT=9190      build and start it; Ctrl+C stops it
make run ARGS=--help    what else it takes: ARGS="-v --workers 4"
make live PORT=9190     the same, and show it in a browser while it runs
make demo               list the demonstrations for a class
make demo LESSON=cycle  show one: build/demo/cycle.html
make puzzle             list servers broken on purpose, to mend
make puzzle N=3         write one into $(BUILD)/puzzles/3, say what is seen;
                        CHECK=1 checks it, AGAIN=1 writes it again
make dist               pack what a class needs, in $(BUILD)/dist
make bench              measure it: all modes, the steps, side by side
make bench BENCH="--quick --html build/bench.html"   or --help
make check              after each change: build, the core tests, format
make test               build all, run the tests
make test TESTS="tests/server -k stop"   some of all: arguments for pytest
make test TESTS=--lf    those that failed the last time
make test-all           also the thorough ones, which take longest
make test-i686          them on the 32-bit programs; adds Debian's i386
make soak               load it for half an hour, and say if it held
make soak SECONDS=60 PARTS=mixed ARGS="--workers 4"
                        a part of that: tests/soak.py --help lists them
make simulate SEED=7    one life on a simulated Windows, told as a story
make simulate ARGS="--count 20000"   many; --races, --faults
make analyze            what tools find without running it; limits of size
make analyze TOOLS=gcc  one of format, cppcheck, gcc, tidy, flake8, count
make clean              remove what was built
make distclean          remove all of $(BUILD): Wine's prefix, puzzles, too
endef

ARCH  = x86_64
PORT  = 9190
ARGS  =
LESSON = --list
N     =
CHECK =
AGAIN =
FROM  = 1
BENCH =
SECONDS = 1200
SEED  = 1
PARTS =
TOOLS =
BUILD = build
SDK   =

SOURCES = main console options log stop pool listener registry connection \
          buffer worker batch echo work trace trace_file
STEPS   = step1_threads step2_events step3_completion_routine step4_iocp \
          step5_end step6_acceptex stable_echo_client
# Version and manifest, for Windows and its Explorer.
RESOURCE  = iocp_echo_server
RESOURCES = src/$(RESOURCE).rc src/$(RESOURCE).manifest src/version.h

WARNINGS = -Wall -Wextra -Wpedantic -Wconversion -Werror
CFLAGS   = -O2
LDLIBS   = -lws2_32
COMPILE  = $(CC) -std=c11 $(WARNINGS) $(CPPFLAGS) $(CFLAGS)

# For Microsoft's compiler and linker. NMakefile has the same, except for
# /highentropyva, the linker's default there.
MSVC_WARNINGS = /W4 /WX
MSVC_CFLAGS   = /nologo /std:c11 /O2 /guard:cf
MSVC_RCFLAGS  = /nologo /i src
MSVC_LDFLAGS  = /nologo /guard:cf /dynamicbase /nxcompat /highentropyva \
                /largeaddressaware /manifest:no
MSVC_LIBS     = ws2_32.lib

# ------------------------------ where this is -------------------------------

# -E: Python ignores its environment variables. -X utf8: it reads the name of
# this directory as UTF-8, whatever the locale.
ifeq ($(OS),Windows_NT)
  CC      = gcc
  WINDRES = windres
  PYTHON  = python -E
  SETUP   =
  BUILDS  = $(ARCH)
else
  CC      = $(ARCH)-w64-mingw32-gcc
  WINDRES = $(ARCH)-w64-mingw32-windres
  PYTHON  = python3 -E -X utf8
  SETUP   = sh scripts/setup.sh
  BUILDS  = x86_64 i686 msvc
endif

# Without an sh, mingw32-make uses cmd.exe, which keeps the quotes.
ifeq ($(shell echo "quoted"),"quoted")
  make_directory   = if not exist $(subst /,\,$(1)) mkdir $(subst /,\,$(1))
  remove_directory = if exist $(subst /,\,$(1)) rmdir /s /q $(subst /,\,$(1))
  remove_file      = if exist $(subst /,\,$(1)) del $(subst /,\,$(1))
else
  make_directory   = mkdir -p $(1)
  remove_directory = rm -rf $(1)
  remove_file      = rm -f $(1)
endif

# The x86-64 program is the one that runs; another lies beside its objects.
# HARDEN asks for what only recent linkers do by default; SAME keeps the time
# out, so that the same sources give the same bytes.
SAME   = --no-insert-timestamp
OBJDIR = $(BUILD)/$(ARCH)
ifeq ($(ARCH),x86_64)
  PROGRAM = $(BUILD)/iocp_echo_server.exe
  STEPDIR = $(BUILD)/steps
  HARDEN  = -Wl,--dynamicbase,--nxcompat,--high-entropy-va,$(SAME)
else
  PROGRAM = $(OBJDIR)/iocp_echo_server.exe
  STEPDIR = $(OBJDIR)/steps
  HARDEN  = -Wl,--dynamicbase,--nxcompat,--large-address-aware,$(SAME)
endif
OBJECTS = $(SOURCES:%=$(OBJDIR)/%.o) $(OBJDIR)/$(RESOURCE).res.o
STEP_PROGRAMS = $(STEPS:%=$(STEPDIR)/%.exe)

# The same sources, with calls that fail on demand: see tests/checked.
CHECKED_OBJDIR  = $(BUILD)/checked
CHECKED_PROGRAM = $(CHECKED_OBJDIR)/iocp_echo_server.exe
CHECKED_OBJECTS = $(SOURCES:%=$(CHECKED_OBJDIR)/%.o) \
                  $(CHECKED_OBJDIR)/faults.o
# A step as it is, and as the chapter lists it: for a lesson.
CHECKED_STEPS   = $(CHECKED_OBJDIR)/step3_completion_routine.exe \
                  $(CHECKED_OBJDIR)/step3_as_listed.exe

MSVC_OBJDIR  = $(BUILD)/$(if $(SDK),msvc-sdk,msvc)
MSVC_PROGRAM = $(MSVC_OBJDIR)/iocp_echo_server.exe
MSVC_OBJECTS = $(SOURCES:%=$(MSVC_OBJDIR)/%.obj) \
               $(MSVC_OBJDIR)/$(RESOURCE).res
MSVC_STEPDIR = $(MSVC_OBJDIR)/steps
MSVC_STEP_PROGRAMS = $(STEPS:%=$(MSVC_STEPDIR)/%.exe)

# --------------------------------- targets ----------------------------------

.PHONY: all steps steps-diff run live demo puzzle bench check test test-all
.PHONY: test-i686 soak analyze simulate clean distclean help setup setup-msvc
.PHONY: x86_64 i686 msvc sdk checked dist

# Without this, make takes a target that failed half-way for done next time.
.DELETE_ON_ERROR:

all: $(PROGRAM)

help:
	@cd .$(info $(HELP))

# Linux only: installs what is missing.
setup:
	@$(if $(SETUP),$(SETUP) $(ARCH),)

$(PROGRAM): $(OBJECTS)
	$(CC) $(HARDEN) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(OBJDIR)/%.o: src/%.c Makefile | setup $(OBJDIR)
	$(COMPILE) -MMD -MP -c -o $@ $<

$(OBJDIR)/$(RESOURCE).res.o: $(RESOURCES) Makefile | setup $(OBJDIR)
	$(WINDRES) -I src -o $@ $<

# The chapter's road to the server: each step is a program of one file.
steps: $(STEP_PROGRAMS)

$(STEPDIR)/%.exe: src/steps/%.c Makefile | setup $(STEPDIR)
	$(COMPILE) $(HARDEN) $(LDFLAGS) -o $@ $< $(LDLIBS)

steps-diff:
	@$(PYTHON) scripts/parts/steps_diff.py "$(FROM)"

checked: $(CHECKED_PROGRAM) $(CHECKED_STEPS)

$(CHECKED_PROGRAM): $(CHECKED_OBJECTS)
	$(CC) -o $@ $^ $(LDLIBS)

$(CHECKED_OBJDIR)/step3_as_listed.exe: CPPFLAGS += -DAS_LISTED

$(CHECKED_STEPS): src/steps/step3_completion_routine.c \
                  $(CHECKED_OBJDIR)/faults.o
	$(COMPILE) -include tests/checked/checked.h -o $@ $^ $(LDLIBS)

$(CHECKED_OBJDIR)/%.o: src/%.c Makefile | setup $(CHECKED_OBJDIR)
	$(COMPILE) -include tests/checked/checked.h -MMD -MP -c -o $@ $<

$(CHECKED_OBJDIR)/%.o: tests/checked/%.c Makefile | setup $(CHECKED_OBJDIR)
	$(COMPILE) -MMD -MP -c -o $@ $<

$(OBJDIR) $(STEPDIR) $(CHECKED_OBJDIR) $(MSVC_OBJDIR) $(MSVC_STEPDIR):
	@$(call make_directory,$@)

-include $(OBJECTS:.o=.d) $(CHECKED_OBJECTS:.o=.d)

x86_64 i686:
	@$(MAKE) --no-print-directory ARCH=$@ all steps

# What NMakefile builds with Microsoft's compiler, as near as Linux gets: with
# clang, and Wine's headers and libraries or the SDK's.
msvc: $(MSVC_PROGRAM) $(MSVC_STEP_PROGRAMS)

sdk:
	@$(PYTHON) scripts/parts/msvc.py fetch $(BUILD)/sdk

setup-msvc:
	@$(if $(SETUP),$(SETUP) msvc,)

$(MSVC_PROGRAM): $(MSVC_OBJECTS)
	$(PYTHON) scripts/parts/msvc.py link $(MSVC_LDFLAGS) /out:$@ $^ $(MSVC_LIBS)

$(MSVC_OBJDIR)/%.obj: src/%.c $(wildcard src/*.h) scripts/parts/msvc.py \
                      Makefile | setup-msvc $(MSVC_OBJDIR) $(MSVC_STEPDIR)
	$(PYTHON) scripts/parts/msvc.py cl $(MSVC_WARNINGS) $(MSVC_CFLAGS) /c /Fo$@ $<

$(MSVC_STEP_PROGRAMS): %.exe: %.obj
	$(PYTHON) scripts/parts/msvc.py link $(MSVC_LDFLAGS) /out:$@ $< $(MSVC_LIBS)

$(MSVC_OBJDIR)/%.res: src/%.rc $(RESOURCES) scripts/parts/msvc.py Makefile \
                      | setup-msvc $(MSVC_OBJDIR)
	$(PYTHON) scripts/parts/msvc.py rc $(MSVC_RCFLAGS) /fo$@ $<

run: $(PROGRAM)
	@$(if $(SETUP),$(SETUP) wine,)
	@$(PYTHON) scripts/launch.py $(PROGRAM) $(PORT) $(ARGS)

live: $(PROGRAM)
	@$(if $(SETUP),$(SETUP) wine,)
	@$(PYTHON) scripts/live.py $(PORT) $(ARGS) --server $(PROGRAM)

demo: $(PROGRAM) checked
	@$(if $(SETUP),$(SETUP) wine,)
	@$(PYTHON) scripts/demo.py $(LESSON)

puzzle:
	@$(if $(N),$(if $(SETUP),$(SETUP) $(ARCH) wine $(if $(CHECK),pytest msvc),),)
	@$(PYTHON) scripts/puzzle.py $(N) $(if $(CHECK),--check) \
	    $(if $(AGAIN),--again)

# Linux only: the lessons in it are played on the simulated Windows.
dist: $(PROGRAM) steps
	@$(if $(SETUP),$(SETUP) pytest msvc,)
	@$(PYTHON) scripts/parts/dist.py $(BUILD)/dist $(PROGRAM) $(STEPDIR)

bench: $(PROGRAM) steps checked
	@$(if $(SETUP),$(SETUP) wine,)
	@$(PYTHON) scripts/bench.py --server $(PROGRAM) --steps $(STEPDIR) \
	    --checked $(CHECKED_PROGRAM) $(BENCH)

# What a change is most likely to break. SERVER may name another build.
CORE = -q tests/server -k "not own_build and (test_echo and plain or \
    test_stopping and plain or test_output or test_listening or test_limits \
    or test_command_line)"

check: all
	@$(if $(SETUP),$(SETUP) wine pytest analysis,)
	@$(PYTHON) scripts/parts/run_tests.py $(CORE)
	@$(if $(SETUP),$(PYTHON) scripts/parts/analyze.py format,)

test: $(BUILDS) checked
	@$(if $(SETUP),$(SETUP) wine pytest browser analysis,)
	@$(PYTHON) scripts/parts/run_tests.py $(TESTS)

test-all: $(BUILDS) checked
	@$(if $(SETUP),$(SETUP) wine pytest browser analysis,)
	@$(PYTHON) scripts/parts/run_tests.py -q --durations=10 $(TESTS)

soak: $(PROGRAM)
	@$(if $(SETUP),$(SETUP) wine,)
	@$(PYTHON) tests/soak.py --seconds "$(SECONDS)" --seed "$(SEED)" \
	    --parts "$(PARTS)" -- $(ARGS)

# The tests that hold for the programs at SERVER and STEPS, whichever build
# they are. A test marked own_build needs another build.
BLACK_BOX = tests/server -m "not own_build"

# The 32-bit programs, under Wine for Debian's architecture i386, which this
# adds. It makes Wine's prefix again if that was made without. Linux only.
test-i686: i686
	@$(if $(SETUP),$(SETUP) wine wine32 pytest,)
	@[ -e build/wine/drive_c/windows/syswow64/ntdll.dll ] || rm -rf build/wine
	SERVER=$(BUILD)/i686/iocp_echo_server.exe STEPS=$(BUILD)/i686/steps \
	    $(PYTHON) scripts/parts/run_tests.py $(or $(TESTS),-q $(BLACK_BOX))

# The server's sources on a simulated Windows: see tests/README.md. Linux only.
simulate:
	@$(PYTHON) tests/simulated/simulate.py --seed "$(SEED)" $(ARGS)

# Fails on anything that can be found without running the programs. Linux only:
# it has the tools, and the sources are the same on Windows.
analyze:
	@$(if $(SETUP),$(SETUP) x86_64 analysis,)
	@$(PYTHON) scripts/parts/analyze.py $(TOOLS)

clean:
	@$(call remove_directory,$(BUILD)/x86_64)
	@$(call remove_directory,$(BUILD)/i686)
	@$(call remove_directory,$(BUILD)/msvc)
	@$(call remove_directory,$(BUILD)/msvc-sdk)
	@$(call remove_directory,$(CHECKED_OBJDIR))
	@$(call remove_directory,$(BUILD)/simulated)
	@$(call remove_directory,$(BUILD)/steps)
	@$(call remove_directory,$(BUILD)/dist)
	@$(call remove_file,$(BUILD)/iocp_echo_server.exe)

# Removes Wine's prefix too, which takes a while to make again.
distclean:
	@$(call remove_directory,$(BUILD))
