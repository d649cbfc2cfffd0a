#!/usr/bin/python3
"""Data goes down the picture, and so do includes: a file includes lower layers and its own folder, nothing else."""
import pathlib
import re
import sys

# What each layer may include. "shared": headers of bpf/ that both halves compile; "skel": skeletons; "proto": protobuf-c.
MAY = {
    "base": "",
    "model": "base shared",
    "kernel": "base model shared skel",
    "identity": "base model",
    "export": "base model proto",
    "view": "base model export",
    "jvm": "base model kernel",
    "signal": "base model kernel jvm shared skel",
    "pipeline": "base model kernel identity export view jvm signal shared",
    "cmd": "base model kernel identity export view jvm signal pipeline shared",
    "main": "base cmd",
    "bpf": "",
    "vmlinux": "",
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def layer(path):
    if path.parts[0] != "user":
        return path.parts[0]
    if len(path.parts) == 2:
        return "main" if path.name == "main.c" else "pipeline"
    return path.parts[1]


def target(path, name):
    """Layer of the file that @path includes as @name."""
    if name.endswith(".skel.h"):
        return "skel"
    if name.endswith(".pb-c.h"):
        return "proto"
    for base in (path.parent, pathlib.Path("user"), pathlib.Path("bpf"), pathlib.Path("vmlinux")):
        found = base / name
        if not found.exists() or (base == pathlib.Path("bpf") and path.parts[0] == "vmlinux"):
            continue
        if found.parts[0] == "bpf" and path.parts[0] == "user":
            pure = not name.startswith("l7_") and not name.endswith(".bpf.h")
            return "shared" if pure else "the kernel half"
        if found.parts[0] == "vmlinux":
            return path.parts[0] if path.parts[0] == "bpf" else "the kernel half"
        return layer(found)
    return "nowhere"


bad = 0
count = 0
for top in ("user", "bpf", "vmlinux"):
    for path in sorted(p for p in pathlib.Path(top).rglob("*") if p.suffix in (".c", ".h", ".def")):
        own = layer(path)
        for found in INCLUDE.finditer(path.read_text()):
            count += 1
            to = target(path, found.group(1))
            if to != own and to not in MAY[own].split():
                line = path.read_text().count("\n", 0, found.start(1)) + 1
                print(f'{path}:{line}: {own} may not include "{found.group(1)}" ({to})')
                bad = 1
if count < 50:
    print(f"only {count} includes looked at: has the tree moved?")
    bad = 1
sys.exit(bad)
