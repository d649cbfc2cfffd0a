"""Reads the Prometheus text format, strictly: what a scraper would refuse raises ValueError here."""

import re

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|(?=}))')
ESCAPE = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


class Samples:
    """samples.get("http_server_request_duration_seconds_count", service_name="a") adds up what matches."""

    def __init__(self, text):
        self.samples = []  # (name, labels, value)
        self.types = {}
        seen = set()
        for line in text.split("\n"):
            if not line or line == "# EOF":
                continue
            if line.startswith("#"):
                words = line.split(" ", 3)
                if words[1] == "TYPE":
                    if words[2] in self.types:
                        raise ValueError("two TYPE lines: " + line)
                    self.types[words[2]] = words[3]
                continue
            name = NAME.match(line)
            if not name:
                raise ValueError("no metric name: %r" % line)
            at, labels = name.end(), {}
            if line[at:at + 1] == "{":
                at += 1
                while line[at] != "}":
                    found = LABEL.match(line, at)
                    if not found or found[1] in labels:
                        raise ValueError("bad labels at %d: %r" % (at, line))
                    labels[found[1]] = re.sub(r"\\.", lambda m: ESCAPE[m[0]], found[2])
                    at = found.end()
                at += 1
            value = float(line[at:].split()[0])
            identity = (name[0], tuple(sorted(labels.items())))
            if identity in seen:
                raise ValueError("the same series twice: %r" % line)
            seen.add(identity)
            self.samples.append((name[0], labels, value))

    def find(self, name, **labels):
        """[(labels, value)]; a label given as None must be absent."""
        return [(have, value) for metric, have, value in self.samples
                if metric == name and all(have.get(key) == want for key, want in labels.items())]

    def get(self, name, **labels):
        return sum(value for _, value in self.find(name, **labels))
