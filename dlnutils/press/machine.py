"""The machine a run was made on."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
from pathlib import Path

from ..store import control_groups

__all__ = ["versions", "processor", "cores"]


def versions() -> dict[str, str]:
    """Versions that can change a number or a picture."""
    found = {"python": platform.python_version()}
    for name in ("numpy", "scipy", "matplotlib"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def processor(facts: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name as its maker writes it, and its widest vectors: virtual machines give several one name."""
    try:
        lines = facts.read_text(encoding="utf-8").splitlines()
        name, flags = (next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")
                       for key in ("model name", "flags"))
    except OSError:
        name = flags = ""
    vectors = [shown for flag, shown in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags.split()]
    return ", ".join([name or platform.processor() or platform.machine(), *vectors[:1]])


def cores(root: Path = Path("/")) -> int:
    """Cores that this process may use: those it is bound to, or the share of a container."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in control_groups("cpu", root):
        try:
            if (folder / "cpu.max").is_file():
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            share = float(quota) / float(period)           # no limit: 'max' is no number, -1 is negative
        except (OSError, ValueError, ZeroDivisionError):
            continue
        if share > 0:
            found = min(found, math.ceil(share))
    return max(found, 1)
