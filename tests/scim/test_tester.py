"""The public SCIM tester, in full, against a server that listens (scim2-tester, by scim2-cli)."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.scim.directory import Directory

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])


def test_every_check_of_the_public_tester_passes(
    live_server: Any, contoso: Directory, tmp_path: Path
) -> None:
    """No check fails, is skipped or deviates: the command ends with 0 only then."""
    command = Path(sys.executable).with_name("scim2")
    tested = subprocess.run(
        [str(command), "--url", f"{live_server.url}/scim/v2", "test"],
        env=os.environ | {"SCIM_CLI_HEADERS": f"Authorization: Bearer {contoso.secret}"},
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
    )

    checks = [line for line in tested.stdout.splitlines() if line.startswith("SUCCESS")]
    assert tested.returncode == 0, json.dumps(tested.stdout + tested.stderr)
    assert len(checks) > 60, tested.stdout
