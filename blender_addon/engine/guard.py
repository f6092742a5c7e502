# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a command and kills it, with its children, when its requester is gone: `guard.py PARENT COMMAND...`

A separate program of the standard library alone: even a killed Blender leaves nothing running. It leads the command's
process group, passes stdin, stdout and stderr through, and exits as the command does.
"""

import os
import signal
import subprocess
import sys
import time

WATCH_S = 0.2
GRACE_S = 2.0  # a command that itself notices that its parent is gone may save its results


def main(parent: int, command: list[str]) -> int:
    """Run the command for the process number `parent`; its exit code, 127 if it cannot be started."""
    # The command gets SIGTERM too, being of the same group, and decides; a handler, unlike SIG_IGN, is not inherited.
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    try:
        process = subprocess.Popen(command)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        return 127
    orphaned_at: float | None = None
    while True:
        try:
            code = process.wait(WATCH_S)
        except subprocess.TimeoutExpired:
            code = None
        if orphaned_at is None and os.getppid() != parent:
            orphaned_at = time.monotonic()
        if orphaned_at is not None and (code is not None or time.monotonic() - orphaned_at > GRACE_S):
            os.killpg(0, signal.SIGKILL)
        if code is not None:
            return _ended_alike(code)


def _ended_alike(code: int) -> int:
    """The exit code; ended by a signal, this process ends by the same one."""
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
