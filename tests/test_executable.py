"""What the linker wrote into the executables, read from their PE headers."""

import struct

import pytest

import support

BUILD = support.ROOT / "build"
X86, X64, ARM64 = 0x14C, 0x8664, 0xAA64  # machines
CONSOLE = 3                              # subsystem
RELOCS_STRIPPED = 0x0001                 # characteristics of the file
HIGH_ENTROPY_VA, DYNAMIC_BASE, NX_COMPAT = 0x0020, 0x0040, 0x0100
IMPORTS, RELOCATIONS = 1, 5              # data directories

# Everything the server may need besides the C runtime.
SYSTEM = {"kernel32.dll", "ws2_32.dll", "mswsock.dll"}
RUNTIME = ("msvcrt.dll", "ucrtbase.dll", "vcruntime140.dll",
           "api-ms-win-crt-")

# cl warns of these (C4996), and NMakefile makes an error of a warning; the
# other compilers say nothing.
C4996 = {"asctime", "ctime", "fopen", "freopen", "fscanf", "getenv", "gmtime",
         "localtime", "mbstowcs", "scanf", "setbuf", "sprintf", "sscanf",
         "strcat", "strcpy", "strerror", "strncat", "strncpy", "strtok",
         "tmpfile", "tmpnam", "vsprintf", "wcstombs", "_open", "strdup",
         "stricmp", "open", "read", "write", "close", "fileno", "isatty"}

# On Windows only what is to be tested was built; elsewhere all of them.
BUILDS = [(support.PROGRAM, None)] if support.WINDOWS else [
    (BUILD / "iocp_echo_server.exe", X64),
    (BUILD / "i686" / "iocp_echo_server.exe", X86),
    (BUILD / "msvc" / "iocp_echo_server.exe", X64)]
STEPS = [(path / name, machine)
         for path, machine in ([(support.STEPS, None)] if support.WINDOWS else
                               [(BUILD / "steps", X64),
                                (BUILD / "i686" / "steps", X86),
                                (BUILD / "msvc" / "steps", X64)])
         for name in ("step1_completion_routine.exe", "step2_iocp.exe")]


class Executable:
    """The headers of a PE file; its format is Microsoft's "PE Format"."""

    def __init__(self, data):
        self.data = data
        header, = self.read("<I", 0x3C)
        assert data[:2] == b"MZ" and data[header:header + 4] == b"PE\0\0"
        (self.machine, sections, _, _, _, optional_size,
         self.characteristics) = self.read("<HHIIIHH", header + 4)
        optional = header + 24
        magic, = self.read("<H", optional)
        assert magic in (0x10B, 0x20B)
        self.wide = magic == 0x20B  # PE32+
        self.subsystem, self.flags = self.read("<HH", optional + 68)
        first = optional + (112 if self.wide else 96)
        count, = self.read("<I", first - 4)
        self.directories = [self.read("<II", first + 8 * i)
                            for i in range(count)]
        # (address, size in the file, offset in the file)
        self.sections = [
            (address, size, offset) for address, size, offset in (
                self.read("<III", optional + optional_size + 40 * i + 12)
                for i in range(sections))]

    def read(self, form, offset):
        """Numbers, at an offset in the file."""
        return struct.unpack_from(form, self.data, offset)

    def offset(self, address):
        """Where in the file that is what will be at an address."""
        for start, size, offset in self.sections:
            if start <= address < start + size:
                return address - start + offset
        raise AssertionError(f"no section has the address {address:#x}")

    def text(self, address):
        """The name at an address."""
        start = self.offset(address)
        return self.data[start:self.data.index(b"\0", start)].decode("ascii")

    def imports(self):
        """DLL -> names of the functions it is to have."""
        result = {}
        descriptor = self.offset(self.directories[IMPORTS][0])
        while True:
            names, _, _, dll, addresses = self.read("<5I", descriptor)
            if dll == 0:
                return result
            result[self.text(dll).lower()] = list(
                self.functions(names or addresses))
            descriptor += 20

    def functions(self, table):
        """The names of one DLL's table; those by number have none."""
        form, size = ("<Q", 8) if self.wide else ("<I", 4)
        place = self.offset(table)
        while True:
            entry, = self.read(form, place)
            if entry == 0:
                return
            if entry >> (8 * size - 1) == 0:
                yield self.text(entry + 2)
            place += size


def check(data, machine=None, function="CreateIoCompletionPort",
          relocations=True):
    """All that has to be true of an executable that needs that function and,
    but for the smallest 64-bit ones, has addresses to relocate."""
    exe = Executable(data)
    assert exe.machine == machine or (
        machine is None and exe.machine in (X86, X64, ARM64))
    assert exe.wide == (exe.machine != X86)
    assert exe.subsystem == CONSOLE

    assert exe.flags & DYNAMIC_BASE and exe.flags & NX_COMPAT
    assert exe.flags & HIGH_ENTROPY_VA or not exe.wide
    # Without relocations the system could not use any of that.
    assert not exe.characteristics & RELOCS_STRIPPED
    address, size = exe.directories[RELOCATIONS]
    if relocations or size > 0:
        assert size > 0 and exe.read("<II", exe.offset(address))[1] > 8

    imports = exe.imports()
    foreign = [dll for dll in imports
               if dll not in SYSTEM and not dll.startswith(RUNTIME)]
    assert foreign == []
    assert {"kernel32.dll", "ws2_32.dll"} <= set(imports)
    assert function in imports["kernel32.dll"]
    return imports


@pytest.mark.parametrize("path, machine", BUILDS,
                         ids=[path.parent.name for path, _ in BUILDS])
def test_headers(path, machine):
    assert path.exists(), f"{path} was not built"
    check(path.read_bytes(), machine)


@pytest.mark.parametrize("path, machine", STEPS, ids=[
    f"{path.parent.parent.name}-{path.stem}" for path, _ in STEPS])
def test_headers_of_steps(path, machine):
    assert path.exists(), f"{path} was not built"
    # clang's have none: no table of theirs holds an address.
    check(path.read_bytes(), machine, "SleepEx" if "step1" in path.stem
          else "CreateIoCompletionPort", relocations=machine == X86)


@pytest.mark.skipif(support.WINDOWS, reason="cl itself would warn")
@pytest.mark.parametrize("name, one", [
    ("iocp_echo_server", "beginthreadex"),
    ("steps/step1_completion_routine", "calloc"),
    ("steps/step2_iocp", "beginthreadex")])
def test_no_function_that_cl_warns_of(name, one):
    imports = Executable((BUILD / "msvc" / f"{name}.exe").read_bytes()
                         ).imports()
    used = {name.lstrip("_") for dll, names in imports.items()
            if dll.startswith(RUNTIME) for name in names}
    assert one in used
    assert used & {x.lstrip("_") for x in C4996} == set()


# ------------------------- executables with mistakes -----------------------

def flip(offset, mask):
    """Change bits of the 16-bit number so far into the optional header."""
    def change(exe):
        header = struct.unpack_from("<I", exe, 0x3C)[0] + 24
        value, = struct.unpack_from("<H", exe, header + offset)
        struct.pack_into("<H", exe, header + offset, value ^ mask)
    return change


def rename(old, new):
    """Give something that is imported another name."""
    def change(exe):
        assert exe.count(old) >= 1 and len(old) == len(new)
        exe[:] = exe.replace(old, new)
    return change


MISTAKES = {
    "dos header": rename(b"MZ", b"ZM"),
    "machine": flip(-20, X86 ^ X64),
    "32 bits": flip(0, 0x10B ^ 0x20B),
    "windowed": flip(68, 1),
    "no ASLR": flip(70, DYNAMIC_BASE),
    "no DEP": flip(70, NX_COMPAT),
    "low entropy": flip(70, HIGH_ENTROPY_VA),
    "relocations stripped": flip(-2, RELOCS_STRIPPED),
    "another DLL": rename(b"KERNEL32.dll\0", b"KERNEL33.dll\0"),
    "another runtime": rename(b"msvcrt.dll\0", b"libgcc.dll\0"),
    "another function": rename(b"\0CreateIoCompletionPort\0",
                               b"\0CreateIoCompletionPart\0"),
}


@pytest.mark.skipif(support.WINDOWS, reason="names of the MinGW build")
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_noticed(name):
    data = bytearray(BUILDS[0][0].read_bytes())
    MISTAKES[name](data)
    with pytest.raises((AssertionError, struct.error)):
        check(bytes(data), X64)


@pytest.mark.skipif(support.WINDOWS, reason="a change to the MinGW build")
def test_missing_relocations_are_noticed():
    data = bytearray(BUILDS[0][0].read_bytes())
    place = struct.unpack_from("<I", data, 0x3C)[0] + 24 + 112
    struct.pack_into("<II", data, place + 8 * RELOCATIONS, 0, 0)
    with pytest.raises(AssertionError):
        check(bytes(data), X64)
