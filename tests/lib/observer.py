"""Two instances of weir that watch the same traffic in the two ways there are: an agent without a tracer counts known
paths in the kernel and the rest from records; a tracer with programs of its own prints every exchange. Both must say
the same, and what the test knows."""

from collections import Counter

from lab import wait_until
from weir import CLIENT, SERVER, Trace, Weir, digest, expected_error


class Exchange(tuple):
    """(method, path, status or None, error or None, request body bytes, response body bytes)"""

    def __new__(cls, method="GET", path="/", status=200, error=None, sent=0, got=0):
        return tuple.__new__(cls, (method, path, status, error, sent, got))


class Observer:
    def __init__(self, lab, *agent_options):
        self.lab = lab
        self.agent = Weir(lab, *agent_options)
        # Only cgroups of this run: others may be busy on the same machine. Lab.cgroup() puts the process id in names.
        self.trace = Trace(lab, "--socket=off", "--container=*-%d-*" % lab.pid)
        self.trace.fence()

    def check(self):
        assert self.agent.process.alive(), "the agent ended: " + self.agent.process.output()
        assert self.trace.process.alive(), "the tracer ended: " + self.trace.process.output()
        assert not self.trace.bad, "lines that are not JSON in UTF-8: %r" % self.trace.bad[:3]

    def records(self, cgroup, role=None, count=None):
        """All records of @cgroup. Waits for @count of them, then for a fence: more would be seen too."""
        if count:
            self.trace.wait(lambda t: len(t.of(cgroup, role)) >= count,
                            lambda: "%d records of %s, have %r" % (count, cgroup.path, self.trace.of(cgroup, role)))
        self.trace.fence()
        return self.trace.of(cgroup, role)

    def expect(self, cgroup, role, exchanges):
        """Exactly these exchanges, in the order in which they ended; the agent counted the same. Returns the records."""
        records = self.records(cgroup, role, len(exchanges))
        assert [digest(r) for r in records] == [tuple(e) for e in exchanges]
        assert not [r for r in self.trace.of(cgroup) if r["role"] != role]
        for record in records:
            assert record["signal"] == "http"
            assert record["duration_ns"] >= 0
            if digest(record)[3]:
                continue
            assert (record.get("error") or None) == expected_error(role, record["status"])
            assert 0 < record["ttfb_ns"] <= record["duration_ns"]
        self.expect_counts(cgroup, role, Counter((e[2], e[3]) for e in exchanges))
        return records

    def expect_counts(self, cgroup, role, want):
        """The agent's series of @cgroup: {(status, error): count}."""
        metric = SERVER if role == "server" else CLIENT
        want = Counter(want)

        def have():
            got = counts(self.agent.snapshot(), metric, cgroup)
            # an agent reads its ring asynchronously: less than expected may still come, more never goes away
            return got if sum(got.values()) >= sum(want.values()) else None

        got = wait_until(have, lambda: "%r in series of %s, have %r" % (
            dict(want), cgroup.path, dict(counts(self.agent.snapshot(), metric, cgroup)))) if want else \
            counts(self.agent.snapshot(), metric, cgroup)
        assert got == want

    def finish(self):
        self.trace.process.close()
        self.agent.process.close()


def counts(snapshot, metric, cgroup):
    """{(status or None, error or None): count}. error.type of a response with an error status is that status: None."""
    out = Counter()
    for point in snapshot.find(metric, cgroup):
        status = point.attributes.get("http.response.status_code")
        error = point.attributes.get("error.type")
        out[status, None if error == str(status) else error] += point.count
    return out
