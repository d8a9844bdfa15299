"""See that Chromium is there for the browser tests: `python -m config.demo.chromium`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

CHROMIUM = Path("/usr/bin/chromium")
INSTALL = ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]


def main() -> int:
    if CHROMIUM.exists():
        return 0
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print(f"The browser tests need {CHROMIUM}. On Debian: sudo {' '.join(INSTALL)}.", file=sys.stderr)
        return 1
    print("Installing Chromium for the browser tests", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], INSTALL):
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode:
            print(f"`{' '.join(command)}` failed:\n{done.stdout[-3000:]}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
