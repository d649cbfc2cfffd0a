"""A link between two ends, each in a network namespace and a cgroup of its own, that loses what it is told to lose.

The sender's packets carry one segment each, and what is lost is lost by the receiver's namespace before its sockets see
it: for the sender that is a loss on the way."""

import re

from lab import run


class Lossy:
    def __init__(self, lab):
        self.lab = lab
        self.netns = lab.netns()  # of the sender; the receiver is outside, at netns.host
        self.table = "wl%s" % self.netns.host_if
        for where, device in ((["-n", self.netns.name], "eth0"), ([], self.netns.host_if)):
            run("ip", *where, "link", "set", device, "gso_max_segs", "1")
        lab.own(self)

    def lose(self, *rules):
        """Replaces what is lost by nft rules (without their verdict) on packets that come from the sender."""
        self.close()
        lines = ["\t\tmeta l4proto tcp %s counter drop" % rule for rule in rules]
        run("nft", "-f", "-", input="table netdev %s {\n\tchain c {\n\t\ttype filter hook ingress device \"%s\" priority 0\n%s\n"
            "\t}\n}\n" % (self.table, self.netns.host_if, "\n".join(lines)))

    def lost(self):
        """Packets lost by the rules of now."""
        return sum(int(n) for n in re.findall(r"counter packets (\d+)", run("nft", "list", "table", "netdev", self.table)))

    def close(self):
        if self.table in run("nft", "list", "tables"):
            run("nft", "delete", "table", "netdev", self.table)

    def counters(self, netns=None):
        """{name: value} of /proc/net/snmp and netstat of the sender's namespace: the kernel's own counts."""
        text = run("ip", "netns", "exec", self.netns.name, "cat", "/proc/net/snmp", "/proc/net/netstat")
        return counters(text)


def counters(text):
    out = {}
    lines = text.splitlines()
    for names, values in zip(lines[::2], lines[1::2]):
        if names.split(":")[0] in ("Tcp", "TcpExt"):
            out.update(zip(names.split()[1:], map(int, values.split()[1:])))
    return out


def difference(after, before):
    return {name: after[name] - before.get(name, 0) for name in after}
