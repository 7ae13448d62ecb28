"""The memory that is free, and that a process holds, in bytes. Linux alone tells; elsewhere the answer is None."""

import os
from contextlib import suppress
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
GROUP = Path("/sys/fs/cgroup")  # of a container, version 2


def free_memory() -> int | None:
    """How much memory new processes can use: of the machine, or of the container where that has less."""
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        machine = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
        return min(machine, _left_in_container(machine))
    return None


def resident(process: int) -> int | None:
    """How much memory a process holds now."""
    with suppress(OSError, ValueError, IndexError):
        return PAGE * int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return None


def first_to_go() -> None:
    """Let the system end this process rather than others where memory runs out."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _left_in_container(machine: int) -> int:
    """What the container may still use; its files in memory do not count, as the system gives them up."""
    try:
        most = (GROUP / "memory.max").read_text().strip()
        used = int((GROUP / "memory.current").read_text())
        files = next(
            int(line.split()[1])
            for line in (GROUP / "memory.stat").read_text().splitlines()
            if line.startswith("inactive_file ")
        )
    except (OSError, ValueError, StopIteration):
        return machine
    return machine if most == "max" else max(int(most) - used + files, 0)
