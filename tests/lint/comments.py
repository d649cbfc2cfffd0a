#!/usr/bin/python3
"""Comments are /* */; // means "debugging, not for a commit", and TODO has a name: TODO(who): condition."""
import pathlib
import re
import sys

TOKEN = re.compile(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*', re.S)
bad = 0

for top in ("bpf", "user", "vmlinux", "tests"):
    for path in sorted(pathlib.Path(top).rglob("*.[ch]")):
        text = path.read_text()
        for found in TOKEN.finditer(text):
            token = found.group()
            line = text.count("\n", 0, found.start()) + 1
            if token.startswith("//"):
                print(f"{path}:{line}: // comment")
                bad = 1
            elif token.startswith("/*") and re.search(r"\b(TODO|FIXME|XXX)\b(?!\(\w+\):)", token):
                print(f"{path}:{line}: TODO without a name and a condition")
                bad = 1
sys.exit(bad)
