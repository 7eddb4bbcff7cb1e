#!/usr/bin/env python3
"""Stand-ins for Microsoft's cl, rc and link on Linux.

usage: msvc.py cl ARGUMENTS...
       msvc.py rc ARGUMENTS...
       msvc.py link ARGUMENTS...
       msvc.py fetch DIRECTORY

clang understands cl's command line and makes objects with Microsoft's ABI;
llvm-rc stands in for rc, lld for link. Headers and import libraries are
Wine's, those of the universal C runtime too. Whatever options clang and lld
need beyond Microsoft's are added here, so a makefile passes the same arguments
to both.

With SDK=DIRECTORY in the environment, headers and libraries are Microsoft's.
The directory is a Windows SDK as in "Windows Kits/10", or one that fetch has
filled with NuGet's packages. Then cl compiles for each of TARGETS (only the
first is linked), and rc is Microsoft's, under Wine. No SDK has what belongs to
Visual C++ itself: that comes from vcruntime.h and from Wine.
"""

import os
import sys

if __name__ == "__main__":  # first: the other imports take their time
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(
        __file__))))
    from parts import words
    words.begin("msvc.py")

import json
import pathlib
import shutil
import subprocess
import tempfile

import launch
from parts import program
from parts.words import Failure

HEADERS = pathlib.Path("/usr/include/wine/wine")
LIBRARIES = pathlib.Path("/usr/lib/x86_64-linux-gnu/wine/x86_64-windows")
RUNTIME = ["kernel32.lib", "ucrtbase.lib", "winecrt0.lib"]
TIMEOUT = 120  # seconds

# Wine's C runtime lacks what two options need at run time: the cookie of /GS,
# which cl turns on by default, and the checks of /guard:cf.
NO_COOKIE = "/GS-"
NO_GUARD = "/guard:cf"

# Clang has some of cl's /W4 warnings under names of its own: hidden names
# (C4456 to C4459), conversions that lose bits (C4244, C4267), unreachable
# code (C4702). -Wpedantic finds GNU's extensions, which cl does not have.
WARNINGS = ["-Wshadow", "-Wconversion", "-Wno-sign-conversion",
            "-Wunreachable-code", "-Wpedantic"]

SDK = os.environ.get("SDK")
TARGETS = ["x86_64", "i686", "aarch64"] if SDK else ["x86_64"]
FETCH_TIMEOUT = 600  # seconds
VERSION = "10.0.26100.9169"
PACKAGES = ["Microsoft.Windows.SDK.CPP", "Microsoft.Windows.SDK.CPP.x64"]
PROJECT = """<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup><TargetFramework>netstandard2.0</TargetFramework>
  </PropertyGroup>
  <ItemGroup>
    {}
  </ItemGroup>
</Project>
"""


def of_sdk(*patterns):
    """Returns the newest path in the SDK that matches one of the patterns."""
    found = [path for pattern in patterns
             for path in pathlib.Path(SDK).resolve().glob(pattern)]
    if not found:
        raise Failure(f"{SDK}: no Windows SDK here, it has no {patterns[0]}: "
                      "'make sdk' fetches one into build/sdk")
    return max(found)


def sdk_headers():
    """Returns the directories of the SDK's headers."""
    found = of_sdk("Include/*/um", "*/*/c/Include/*/um").parent
    return [found / name for name in ("ucrt", "um", "shared")]


def overlay(directory):
    """Writes an overlay, so that clang finds the SDK's headers in any case.
    Returns the options for it. All of Visual C++'s headers are one file."""
    own = pathlib.Path(__file__).with_name("vcruntime.h")
    visual_c = pathlib.Path(directory) / "include"
    places = [(visual_c, {name: own for name in (
        "vcruntime.h", "vcruntime_string.h", "vcruntime_startup.h", "excpt.h",
        "setjmp.h")})]
    places += [(path, {x.name: x for x in path.glob("*.*")})
               for path in sdk_headers()]
    roots = [{"name": str(path), "type": "directory", "contents": [
        {"name": name, "type": "file", "external-contents": str(real)}
        for name, real in files.items()]} for path, files in places]
    file = pathlib.Path(directory) / "overlay.json"
    file.write_text(json.dumps(
        {"version": 0, "case-sensitive": False, "roots": roots}),
        encoding="utf-8")
    return ["-Xclang", "-ivfsoverlay", "-Xclang", str(file),
            *(x for path, _ in places for x in ("/imsvc", str(path)))]


def compile_lines(arguments, directory):
    """Yields the clang commands for cl's arguments."""
    headers = overlay(directory) if SDK else [
        "/imsvc", str(HEADERS / "msvcrt"), "/imsvc", str(HEADERS / "windows")]
    for target in TARGETS:
        if target != TARGETS[0]:
            arguments = ["/Fo" + os.devnull if x.startswith("/Fo") else x
                         for x in arguments]
        yield ["clang", "--driver-mode=cl",
               f"--target={target}-pc-windows-msvc", *headers,
               *arguments, *WARNINGS, NO_COOKIE]


def resource_lines(arguments, _):
    """Yields the command for rc's arguments: llvm-rc, or rc itself."""
    if SDK:
        headers = sdk_headers()
        compiler = of_sdk("bin/*/x64/rc.exe", "*/*/c/bin/*/x64/rc.exe")
        line = launch.command(compiler)
    else:
        headers = [HEADERS / "msvcrt", HEADERS / "windows"]
        line = ["llvm-rc"]
    yield [*line, *(x for path in headers for x in ("/i", str(path))),
           *arguments]


def wine_library(name):
    """Returns Wine's file for a library: libws2_32.a for ws2_32.lib."""
    return str(LIBRARIES / f"lib{name[:-len('.lib')]}.a")


def sdk_library(name):
    """Returns the SDK's file for a library, in whatever case."""
    um = of_sdk("Lib/*/um/x64", "*.x64/*/c/um/x64")
    found = [path for directory in (um, um.parents[1] / "ucrt" / "x64")
             for path in directory.glob("*.*") if path.name.lower() == name]
    if not found:
        raise Failure(f"{um}: {name} is not there")
    return str(found[0])


def link_lines(arguments, _):
    """Yields the lld-link command for link's arguments."""
    library = sdk_library if SDK else wine_library
    named = [library(x) if x.endswith(".lib") else x for x in arguments]
    if SDK:  # the rest comes from Wine: a start, __chkstk, memcpy
        named += map(sdk_library, ["kernel32.lib", "ucrt.lib"])
    # By default lld asks for Microsoft's libraries. And it can't tell whether
    # this is main or wmain: Wine's libraries have a start for each.
    yield ["lld-link", "/nodefaultlib", "/subsystem:console",
           "/entry:mainCRTStartup", *named, *map(wine_library, RUNTIME)]


TOOLS = {"cl": compile_lines, "rc": resource_lines, "link": link_lines}


def fetch(directory):
    """Fetches the SDK with NuGet, under Microsoft's licence."""
    if shutil.which("dotnet") is None:
        raise Failure("dotnet is not installed: install .NET's SDK, or use a "
                      "Windows SDK that is there with make msvc SDK=DIRECTORY")
    path = pathlib.Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    (path / "sdk.csproj").write_text(PROJECT.format("\n    ".join(
        f'<PackageDownload Include="{name}" Version="[{VERSION}]" />'
        for name in PACKAGES)), encoding="ascii")
    return subprocess.run(
        ["dotnet", "restore", "sdk.csproj", "--packages", ".",
         "-p:DisableImplicitFrameworkReferences=true"], cwd=path,
        timeout=FETCH_TIMEOUT).returncode


def run(line):
    """Runs a command. Returns its exit status."""
    try:
        return subprocess.run(line, env=launch.environment() if SDK else None,
                              timeout=TIMEOUT).returncode
    except FileNotFoundError:
        raise Failure(f"{line[0]} is not installed: sh scripts/setup.sh msvc"
                      ) from None
    except subprocess.TimeoutExpired:
        raise Failure(f"{line[0]} is not done after {TIMEOUT} seconds"
                      ) from None


@program.entry
def main():
    """Runs one of the tools, or fetches the SDK. Returns the exit status."""
    if len(sys.argv) == 3 and sys.argv[1] == "fetch":
        return fetch(sys.argv[2])
    if len(sys.argv) < 3 or sys.argv[1] not in TOOLS:
        print(__doc__, file=sys.stderr)
        return 2
    arguments = [x.replace("\\", "/") for x in sys.argv[2:] if x != NO_GUARD]
    if SDK and sys.argv[1] == "rc":
        launch.prepare()
    with tempfile.TemporaryDirectory() as directory:
        for line in TOOLS[sys.argv[1]](arguments, directory):
            status = run(line)
            if status != 0:
                return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
