"""The workflow can't run here, but whatever it calls must exist."""

import re

import pytest

from support import ROOT

WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
TEXT = WORKFLOW.read_text(encoding="ascii")


@pytest.fixture
def jobs():
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load(TEXT)["jobs"]


def targets(makefile):
    """Returns the names to the left of a colon."""
    text = (ROOT / makefile).read_text(encoding="ascii")
    return set(re.findall(r"^([\w-]+):", text, re.MULTILINE))


def commands(jobs):
    """Returns all commands of the jobs in one text."""
    return "\n".join(step["run"] for job in jobs.values()
                     for step in job["steps"] if "run" in step)


def test_what_is_called_is_there(jobs):
    text = commands(jobs)
    made = {"Makefile": re.findall(r"^(?:\S+=\S+ |mingw32-)?make (.+)$", text,
                                   re.M),
            "NMakefile": re.findall(r"^nmake /nologo /f NMakefile (.+)$",
                                    text, re.M)}
    assert made == {"Makefile": ["analyze", "test-all", "test-all", "msvc",
                                 "check", "dist"],
                    "NMakefile": ["test-all"]}
    for makefile, names in made.items():
        assert set(names) <= targets(makefile)
    scripts = re.findall(r"\\(scripts\\\w+\.cmd)", text)
    assert len(scripts) == 2
    for script in scripts:
        assert (ROOT / script.replace("\\", "/")).exists(), script


def test_every_job_ends_and_may_only_read(jobs):
    import yaml
    assert yaml.safe_load(TEXT)["permissions"] == {"contents": "read"}
    assert set(jobs) == {"msvc", "analysis", "mingw", "wine", "wine-msvc",
                         "release"}
    for name, job in jobs.items():
        assert 0 < job["timeout-minutes"] <= 60
        assert name == "release" or "permissions" not in job
    assert "secrets" not in TEXT


def test_a_tag_releases_what_has_passed(jobs):
    """It attaches the package that `make dist` makes; only this may write."""
    release = jobs.pop("release")
    assert release["if"] == "startsWith(github.ref, 'refs/tags/v')"
    assert set(release["needs"]) == set(jobs)
    assert release["permissions"] == {"contents": "write"}
    attached = release["steps"][-1]["run"].split()[-1]
    source = (ROOT / "scripts" / "parts" / "dist.py").read_text(
        encoding="ascii")
    assert (attached == '"build/dist/iocp-echo-server-${GITHUB_REF_NAME#v}.'
            'zip"' and 'f"iocp-echo-server-{version()}.zip"' in source)


def test_what_is_run_before_a_change_goes_in(jobs):
    """It is part of the workflow, and only a release waits for others."""
    script = (ROOT / ".ci" / "run").read_text(encoding="ascii")
    made = re.findall(r"^(?:\S+=\S+ )?make .+$", script, re.MULTILINE)
    assert made == ["make clean", "make analyze", "make test-all",
                    "SERVER=build/msvc/iocp_echo_server.exe make check"]
    run = commands(jobs).splitlines()
    assert all(line in run for line in made[1:])
    assert [name for name in jobs if "needs" in jobs[name]] == ["release"]


def test_actions_are_pinned():
    """They name commits, because a tag can be moved to other code."""
    used = re.findall(r"uses: *(.*)$", TEXT, re.MULTILINE)
    assert used
    for each in used:
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+",
                            each), each
