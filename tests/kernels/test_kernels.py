"""weir counts real traffic exactly on the oldest kernel it supports and on the newest there is (all of them: make kernels)."""

import os
import pathlib
import re
import subprocess

import pytest

RUN = pathlib.Path(__file__).with_name("run")


@pytest.mark.parametrize("kernel,cpus", [("oldest", 1), ("newest", 2)])
def test_counts_exactly_on(kernel, cpus):
    """With two CPUs one of them goes and comes back meanwhile."""
    done = subprocess.run([RUN, kernel], capture_output=True, text=True, timeout=900, check=False,
                          env={**os.environ, "VM_SMP": str(cpus), "LIMIT": "850"})
    print(done.stdout + done.stderr)
    failures = [line for line in done.stdout.splitlines() if line.startswith("not ok")]
    assert failures == []
    assert ("ok hotplug_count" in done.stdout) == (cpus > 1)
    assert re.search(r"^kernel \S+: [1-9]\d* passed, 0 failed$", done.stdout, re.MULTILINE)
    assert done.returncode == 0
