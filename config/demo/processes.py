"""Child processes that never outlive the process that started them."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class ChildFailed(Exception):
    """A child process ended or did not get ready; the message ends with the tail of its log."""

    def __init__(self, name: str, what: str, log: Path) -> None:
        super().__init__(f"{name} {what}. The end of {log}:\n{tail(log)}")


def spawn(
    argv: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | str | None = None,
    account: str | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    death_signal: int = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start `argv` in a session of its own, its output appended to `log`.

    The child gets `death_signal` when this process ends, however it ends. Call it from the main thread:
    Linux sends that signal when the thread that forked ends. `account` (root only) is the user to run as.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(part) for part in argv],
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            user=account,
            group=_group_of(account),
            extra_groups=None if account is None else [],
            start_new_session=True,
            preexec_fn=end_with_parent(death_signal),
        )


def run_as(
    account: str | None, argv: Sequence[str | Path], **options: object
) -> subprocess.CompletedProcess[str]:
    """Run `argv` to its end as `account` (this process's own user when None), its output captured as text."""
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [str(part) for part in argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd="/",
        user=account,
        group=_group_of(account),
        extra_groups=None if account is None else [],
        **options,
    )


def stop(process: subprocess.Popen[bytes], *, by: int = signal.SIGTERM, timeout: float = 15) -> int:
    """End `process` by the signal `by`; what is left of its session after `timeout` seconds is killed."""
    if process.poll() is None:
        process.send_signal(by)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def tail(log: Path, lines: int = 25) -> str:
    """The last lines of a log file, indented; says so when there are none."""
    try:
        text = log.read_text(errors="replace").splitlines()[-lines:]
    except OSError:
        text = []
    return "\n".join(f"    {line}" for line in text) or "    (empty)"


def end_with_parent(death_signal: int) -> Callable[[], None] | None:
    """What a child runs before its program so that it gets `death_signal` when this process ends."""
    if _libc is None:
        return None
    libc, parent = _libc, os.getpid()

    def ask_kernel() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:  # it ended between fork and prctl
            os._exit(1)

    return ask_kernel


def _group_of(account: str | None) -> int | None:
    if account is None:
        return None
    import pwd

    return pwd.getpwnam(account).pw_gid
