"""Runs one command and writes down its wall time, CPU time and peak memory.

It is a program of its own, tiny and without imports beyond the essential, because Linux carries
the peak memory of whoever forks into the figure of the child: measured from the benchmark itself,
every tool would seem to need at least what the benchmark needs. So no figure below this program's
own size (about 9 MiB) can be seen, and none such is claimed.

    launcher.py RESULT LOG DIRECTORY COMMAND…

RESULT gets "wall_seconds cpu_seconds peak_kib status"; LOG gets all that the command prints.
CPU time and peak memory include the command's own children, as `time -v` counts them.
"""

import os
import sys
import time


def child(log, directory, command):
    """Becomes the command; never returns."""
    try:
        os.chdir(directory)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"cannot start {command[0]}: {error}\n".encode())
    os._exit(127)


def main():
    result, log, directory, *command = sys.argv[1:]
    begun = time.monotonic()
    pid = os.fork()
    if pid == 0:
        child(log, directory, command)
    _, status, usage = os.wait4(pid, 0)
    wall_seconds = time.monotonic() - begun
    cpu_seconds = usage.ru_utime + usage.ru_stime
    with open(result, "w") as file:
        file.write(f"{wall_seconds} {cpu_seconds} {usage.ru_maxrss} {os.waitstatus_to_exitcode(status)}\n")


main()
