"""See that a Chromium is there for the browser tests: `python -m config.demo.chromium`.

Its headless shell is the same engine without windows, tabs and menus, which no test sees and which take twice the time.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

SHELL = Path("/usr/bin/chromium-headless-shell")
WHOLE = Path("/usr/bin/chromium")
INSTALL = ["apt-get", "install", "--yes", "--no-install-recommends", SHELL.name]


def executable() -> str:
    """The Chromium to start: the shell, else the whole browser."""
    return str(SHELL if SHELL.exists() or not WHOLE.exists() else WHOLE)


def main() -> int:
    if SHELL.exists():
        return 0
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        if WHOLE.exists():
            return 0
        print(
            f"The browser tests need {SHELL} or {WHOLE}. On Debian: sudo {' '.join(INSTALL)}.",
            file=sys.stderr,
        )
        return 1
    print("Installing Chromium for the browser tests", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], INSTALL):
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode:
            said = f"`{' '.join(command)}` failed:\n{done.stdout[-3000:]}"
            if WHOLE.exists():
                print(f"{said}\nThe tests use {WHOLE}.")
                return 0
            print(said, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
