"""What the linker wrote into the executables: PE headers and resources."""

import re
import shutil
import struct
import subprocess
import xml.etree.ElementTree

import pytest

import support

BUILD = support.ROOT / "build"
X86, X64, ARM64 = 0x14C, 0x8664, 0xAA64  # machines
CONSOLE = 3                              # subsystem
RELOCS_STRIPPED, LARGE_ADDRESSES = 0x0001, 0x0020  # characteristics
HIGH_ENTROPY_VA, DYNAMIC_BASE, NX_COMPAT = 0x0020, 0x0040, 0x0100
IMPORTS, RESOURCES, RELOCATIONS = 1, 2, 5  # data directories
VERSION, MANIFEST = 16, 24               # types of resources
ENGLISH, UNICODE = 0x0409, 0x04B0        # a language, a code page

# Everything the server may need besides the C runtime.
SYSTEM = {"kernel32.dll", "ws2_32.dll", "mswsock.dll"}
RUNTIME = ("msvcrt.dll", "ucrtbase.dll", "vcruntime140.dll",
           "api-ms-win-crt-")

# cl warns about these (C4996), and NMakefile turns warnings into errors. The
# other compilers say nothing.
C4996 = {"asctime", "ctime", "fopen", "freopen", "fscanf", "getenv", "gmtime",
         "localtime", "mbstowcs", "scanf", "setbuf", "sprintf", "sscanf",
         "strcat", "strcpy", "strerror", "strncat", "strncpy", "strtok",
         "tmpfile", "tmpnam", "vsprintf", "wcstombs", "_open", "strdup",
         "stricmp", "open", "read", "write", "close", "fileno", "isatty"}

# On Windows only the build under test is there, elsewhere all of them.
BUILDS = [(support.PROGRAM, None)] if support.WINDOWS else [
    (BUILD / "iocp_echo_server.exe", X64),
    (BUILD / "i686" / "iocp_echo_server.exe", X86),
    (BUILD / "msvc" / "iocp_echo_server.exe", X64)]
# Built with Microsoft's SDK and rc, if it was: make sdk.
SDK_BUILD = BUILD / "msvc-sdk" / "iocp_echo_server.exe"
MT = list(BUILD.glob("sdk/*/*/c/bin/*/x64/mt.exe"))
BUILDS += [(path, X64) for path in [SDK_BUILD] if path.exists()]
# The steps, and a call of the system that each makes.
STEP_CALLS = {
    "step1_threads": "recv", "step2_events": "WSAWaitForMultipleEvents",
    "step3_completion_routine": "SleepEx",
    "step4_iocp": "CreateIoCompletionPort",
    "step5_end": "PostQueuedCompletionStatus", "step6_acceptex": "WSAIoctl",
    "stable_echo_client": "connect"}
STEPS = [(path / f"{name}.exe", machine)
         for path, machine in ([(support.STEPS, None)] if support.WINDOWS else
                               [(BUILD / "steps", X64),
                                (BUILD / "i686" / "steps", X86),
                                (BUILD / "msvc" / "steps", X64)])
         for name in STEP_CALLS]


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
        """Returns the numbers at an offset in the file."""
        return struct.unpack_from(form, self.data, offset)

    def offset(self, address):
        """Returns the offset in the file of what will be at an address."""
        for start, size, offset in self.sections:
            if start <= address < start + size:
                return address - start + offset
        raise AssertionError(f"no section has the address {address:#x}")

    def text(self, address):
        """Returns the name at an address."""
        start = self.offset(address)
        return self.data[start:self.data.index(b"\0", start)].decode("ascii")

    def imports(self):
        """Returns DLL -> names of the functions imported from it."""
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
        """Returns the names in one DLL's table; imports by number have
        none."""
        form, size = ("<Q", 8) if self.wide else ("<I", 4)
        place = self.offset(table)
        while True:
            entry, = self.read(form, place)
            if entry == 0:
                return
            if entry >> (8 * size - 1) == 0:
                yield self.text(entry + 2)
            place += size

    def resources(self):
        """Returns (type, name, language) -> bytes for resources whose names
        are numbers."""
        root = self.offset(self.directories[RESOURCES][0])

        def entries(table):
            named, numbered = self.read("<HH", root + table + 12)
            assert named == 0
            return [self.read("<II", root + table + 16 + 8 * i)
                    for i in range(numbered)]

        def tables(table):
            """Returns the tables one level down; the high bit marks them."""
            for number, place in entries(table):
                assert place >> 31 == 1
                yield number, place & 0x7FFFFFFF
        result = {}
        for kind, names in tables(0):
            for name, languages in tables(names):
                for language, place in entries(languages):
                    address, size = self.read("<II", root + place)
                    start = self.offset(address)
                    result[kind, name, language] = self.data[
                        start:start + size]
        return result


def version_block(data, start=0):
    """Reads a block of VS_VERSIONINFO: (key, value, inner blocks, end)."""
    length, value_length, is_text = struct.unpack_from("<HHH", data, start)
    end = start + length
    assert 6 < length and end <= len(data)

    def aligned(place):
        return place + -place % 4
    place = start + 6
    while data[place:place + 2] != b"\0\0":
        place += 2
    key = data[start + 6:place].decode("utf-16-le")
    place = aligned(place + 2)
    if is_text and value_length:
        value = data[place:end].decode("utf-16-le").split("\0")[0]
        return key, value, {}, end
    value = data[place:place + value_length]
    place = aligned(place + value_length)
    inside = {}
    while place < end:
        name, *block, place = version_block(data, place)
        inside[name] = block
        place = aligned(place)
    return key, value, inside, end


def project_version():
    """Returns the three numbers of src/version.h."""
    text = (support.ROOT / "src" / "version.h").read_text(encoding="ascii")
    return tuple(int(re.search(rf"^#define VERSION_{name} (\d+)$", text,
                               re.MULTILINE)[1])
                 for name in ("MAJOR", "MINOR", "PATCH"))


def check_version(data):
    """Checks what Explorer shows in a file's properties."""
    numbers = project_version()
    key, fixed, inside, _ = version_block(data)
    assert key == "VS_VERSION_INFO"
    (signature, _, *versions, _, flags, system, kind, _, _, _
     ) = struct.unpack("<13I", fixed)
    assert signature == 0xFEEF04BD
    high, low = numbers[0] << 16 | numbers[1], numbers[2] << 16
    assert versions == [high, low, high, low]  # of the file, of the product
    assert (flags, system, kind) == (0, 0x40004, 1)  # release, NT, program
    _, tables = inside["StringFileInfo"]
    assert list(tables) == [f"{ENGLISH:04X}{UNICODE:04X}"]
    strings = {name: value for name, (value, _) in
               tables[f"{ENGLISH:04X}{UNICODE:04X}"][1].items()}
    text = ".".join(map(str, numbers))
    assert strings == {
        "FileDescription": "TCP echo server on an I/O completion port",
        "FileVersion": text, "InternalName": "iocp_echo_server",
        "OriginalFilename": "iocp_echo_server.exe",
        "ProductName": "iocp_echo_server", "ProductVersion": text}
    translation, _ = inside["VarFileInfo"][1]["Translation"]
    assert translation == struct.pack("<HH", ENGLISH, UNICODE)


SUPPORTED = {  # what GetVersion may report to such a program
    "Vista": "{e2011457-1546-43c5-a5fe-008deee3d3f0}",
    "7": "{35138b9a-5d96-4fbd-8e2d-a2440225f93a}",
    "8": "{4a2f28e3-53b9-4441-ba9c-d69d4a4a6e38}",
    "8.1": "{1f676c76-80e1-4239-95bb-83d0f6d0da78}",
    "10 and 11": "{8e0f7a12-bfb3-4fe8-b9a5-48fd50a15a9a}"}


def check_manifest(data):
    """Checks what the loader reads, with the schemas of Microsoft's page."""
    root = xml.etree.ElementTree.fromstring(data)
    asm = "{urn:schemas-microsoft-com:asm.%s}"
    compatible = "{urn:schemas-microsoft-com:compatibility.v1}"
    settings = "{http://schemas.microsoft.com/SMI/%d/WindowsSettings}"
    assert root.tag == asm % "v1" + "assembly"
    assert root.get("manifestVersion") == "1.0"
    identity = root.find(asm % "v1" + "assemblyIdentity").attrib
    assert identity == {"type": "win32", "name": "iocp_echo_server",
                        "version": "%d.%d.%d.0" % project_version()}
    v3 = asm % "v3"
    level = root.find("/".join(v3 + x for x in (
        "trustInfo", "security", "requestedPrivileges",
        "requestedExecutionLevel")))
    assert level.attrib == {"level": "asInvoker", "uiAccess": "false"}
    systems = root.findall("/".join(compatible + x for x in (
        "compatibility", "application", "supportedOS")))
    assert [x.get("Id") for x in systems] == list(SUPPORTED.values())
    # windowsSettings' own namespace, v3, allows no attribute.
    inside = root.find(v3 + "application/" + v3 + "windowsSettings")
    assert {x.tag: x.text for x in inside} == {
        settings % 2016 + "longPathAware": "true",
        settings % 2019 + "activeCodePage": "UTF-8"}


def check_resources(exe):
    """Checks that there are a version and one manifest, and nothing else."""
    resources = exe.resources()
    assert set(resources) == {(VERSION, 1, ENGLISH), (MANIFEST, 1, ENGLISH)}
    check_version(resources[VERSION, 1, ENGLISH])
    check_manifest(resources[MANIFEST, 1, ENGLISH])


def check(data, machine=None, function="CreateIoCompletionPort",
          relocations=True, resources=True):
    """Checks an executable. It imports `function`; it has relocations, unless
    it is one of the smallest 64-bit ones; it has a version, unless it is a
    step."""
    exe = Executable(data)
    assert exe.machine == machine or (
        machine is None and exe.machine in (X86, X64, ARM64))
    assert exe.wide == (exe.machine != X86)
    assert exe.subsystem == CONSOLE

    assert exe.flags & DYNAMIC_BASE and exe.flags & NX_COMPAT
    assert exe.flags & HIGH_ENTROPY_VA or not exe.wide
    # The system needs relocations to use any of that.
    assert not exe.characteristics & RELOCS_STRIPPED
    # On a 64-bit system this gives a 32-bit program four gigabytes instead of
    # two, which a thousand workers need under Wine.
    assert exe.characteristics & LARGE_ADDRESSES
    address, size = exe.directories[RELOCATIONS]
    if relocations or size > 0:
        assert size > 0 and exe.read("<II", exe.offset(address))[1] > 8

    imports = exe.imports()
    foreign = [dll for dll in imports
               if dll not in SYSTEM and not dll.startswith(RUNTIME)]
    assert foreign == []
    assert {"kernel32.dll", "ws2_32.dll"} <= set(imports)
    assert function in imports["kernel32.dll"] + imports["ws2_32.dll"]
    if resources:
        check_resources(exe)
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
    # clang's have none, because their tables hold no addresses.
    check(path.read_bytes(), machine, STEP_CALLS[path.stem],
          relocations=machine == X86, resources=False)


@pytest.mark.skipif(not (MT and SDK_BUILD.exists()),
                    reason="for make sdk, then make msvc SDK=build/sdk")
def test_resources_are_the_same_from_any_compiler(tmp_path):
    """windres, llvm-rc and Microsoft's rc; its mt takes the manifest."""
    first, *others = (Executable(path.read_bytes()).resources()
                      for path, _ in BUILDS)
    assert len(others) == 3
    for other in others:
        assert version_block(other.pop((VERSION, 1, ENGLISH))) == (
            version_block(first[VERSION, 1, ENGLISH]))
        assert list(other.values()) == [first[MANIFEST, 1, ENGLISH]]
    shutil.copy(SDK_BUILD, tmp_path / "server.exe")
    done = subprocess.run(
        support.launch.command(MT[0], "-inputresource:server.exe;#1",
                               "-validate_manifest", "-out:manifest"),
        cwd=tmp_path, env=support.launch.environment(), timeout=60,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **support.TEXT)
    assert done.returncode == 0, done.stdout


def test_version_is_the_same_everywhere():
    text = "iocp_echo_server " + ".".join(map(str, project_version()))
    assert support.run_server("--version").stdout == text + "\n"
    readme = support.ROOT / "README.md"
    if readme.exists():
        shown = re.findall(r"iocp_echo_server \d+\.\d+\.\d+",
                           readme.read_text(encoding="utf-8"))
        assert set(shown) <= {text}


@pytest.mark.skipif(support.WINDOWS, reason="cl itself would warn")
@pytest.mark.parametrize("name, one", [
    ("iocp_echo_server", "beginthreadex"),
    *((f"steps/{name}", "malloc" if name != "stable_echo_client" else "fgets")
      for name in STEP_CALLS)])
def test_no_function_that_cl_warns_of(name, one):
    imports = Executable((BUILD / "msvc" / f"{name}.exe").read_bytes()
                         ).imports()
    used = {name.lstrip("_") for dll, names in imports.items()
            if dll.startswith(RUNTIME) for name in names}
    assert one in used
    assert used & {x.lstrip("_") for x in C4996} == set()


# ------------------------- executables with mistakes -----------------------

def flip(offset, mask):
    """Changes bits of the 16-bit number at `offset` in the optional
    header."""
    def change(exe):
        header = struct.unpack_from("<I", exe, 0x3C)[0] + 24
        value, = struct.unpack_from("<H", exe, header + offset)
        struct.pack_into("<H", exe, header + offset, value ^ mask)
    return change


def rename(old, new):
    """Gives an imported function or DLL another name."""
    def change(exe):
        assert exe.count(old) >= 1 and len(old) == len(new)
        exe[:] = exe.replace(old, new)
    return change


def flip_after(text, offset):
    """Changes a bit `offset` bytes after the only occurrence of `text`."""
    def change(exe):
        assert exe.count(text) == 1
        exe[exe.index(text) + len(text) + offset] ^= 1
    return change


def utf_16(text):
    """Encodes text as a version resource does."""
    return text.encode("utf-16-le")


FIXED = struct.pack("<2I", 0xFEEF04BD, 0x10000)  # before the four numbers

MISTAKES = {
    "dos header": rename(b"MZ", b"ZM"),
    "machine": flip(-20, X86 ^ X64),
    "32 bits": flip(0, 0x10B ^ 0x20B),
    "windowed": flip(68, 1),
    "no ASLR": flip(70, DYNAMIC_BASE),
    "no DEP": flip(70, NX_COMPAT),
    "low entropy": flip(70, HIGH_ENTROPY_VA),
    "relocations stripped": flip(-2, RELOCS_STRIPPED),
    "two gigabytes": flip(-2, LARGE_ADDRESSES),
    "another DLL": rename(b"KERNEL32.dll\0", b"KERNEL33.dll\0"),
    "another runtime": rename(b"msvcrt.dll\0", b"libgcc.dll\0"),
    "another function": rename(b"\0CreateIoCompletionPort\0",
                               b"\0CreateIoCompletionPart\0"),
    "another file version": flip_after(FIXED, 0),
    "another product version": flip_after(FIXED, 8),
    "another version in words": flip_after(utf_16("FileVersion\0\0"), 0),
    "another name": rename(utf_16("ProductName\0"),
                           utf_16("ProductFame\0")),
    "administrator": rename(b'"asInvoker"', b'"asManager"'),
    "short paths": rename(b">true</long", b">fals</long"),
    "another schema": rename(b"SMI/2019", b"SMI/2016"),
    "another code page": rename(b"UTF-8</a", b"UTF-7</a"),
    "one system less": rename(b"{e2011457", b"{e2011458"),
    "not XML": rename(b"</assembly>", b"</assemble>"),
}


@pytest.mark.skipif(support.WINDOWS, reason="names of the MinGW build")
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_noticed(name):
    data = bytearray(BUILDS[0][0].read_bytes())
    MISTAKES[name](data)
    with pytest.raises((AssertionError, struct.error, SyntaxError)):
        check(bytes(data), X64)


@pytest.mark.skipif(support.WINDOWS, reason="a change to the MinGW build")
def test_missing_relocations_are_noticed():
    data = bytearray(BUILDS[0][0].read_bytes())
    place = struct.unpack_from("<I", data, 0x3C)[0] + 24 + 112
    struct.pack_into("<II", data, place + 8 * RELOCATIONS, 0, 0)
    with pytest.raises(AssertionError):
        check(bytes(data), X64)
