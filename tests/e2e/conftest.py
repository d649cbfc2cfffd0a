"""Fixtures of the end-to-end tests. They need root, cgroup2 and a built weir; what is missing is said when a test is
skipped, and under CI=true a skip is a failure.

  lab       places and processes of one test, taken away after it
  module_lab  the same for a file of tests
  observer  an agent (which counts in the kernel) and a tracer with programs of its own (which sees each exchange),
            shared by the tests of a file; each test looks at its own cgroups only
"""

import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

pytest.register_assert_rewrite("observer", "weir")

import lab as lab_module  # noqa: E402
import servers  # noqa: E402
import weir as weir_module  # noqa: E402
from observer import Observer  # noqa: E402


# Needs downloads: make jdks.
collect_ignore = [] if os.environ.get("JDKS") else ["test_jvm_versions.py"]


def missing():
    if os.geteuid():
        return "end-to-end tests need root"
    if servers.missing_tool():
        return "%s is not installed (make deps)" % servers.missing_tool()
    if not os.access(weir_module.BINARY, os.X_OK):
        return "%s is not built" % weir_module.BINARY
    return None


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Under CI=true nothing may be skipped: a skip becomes a failure with the same reason."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = "skipped under CI=true: %s" % (report.longrepr[2] if isinstance(
            report.longrepr, tuple) else report.longrepr)


def pytest_configure(config):
    config.addinivalue_line("markers", "no_weir: checks of the harness that need no weir")


def pytest_sessionstart(session):
    if not os.geteuid():
        lab_module.sweep()


@pytest.fixture(autouse=True)
def requirements(request):
    reason = missing()
    if reason and not request.node.get_closest_marker("no_weir"):
        pytest.skip(reason)


@pytest.fixture
def lab():
    with lab_module.Lab() as made:
        yield made


@pytest.fixture(scope="module")
def module_lab():
    with lab_module.Lab() as made:
        yield made


@pytest.fixture(scope="module")
def shared_observer(module_lab):
    reason = missing()
    if reason:
        pytest.skip(reason)
    made = Observer(module_lab)
    yield made
    made.finish()


@pytest.fixture
def observer(shared_observer):
    """The conservation law is checked after each test."""
    shared_observer.check()
    yield shared_observer
    shared_observer.check()
    shared_observer.agent.law()
