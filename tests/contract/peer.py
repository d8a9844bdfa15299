"""Start, ask and stop the processor of `config/demo/processor` as a process of its own."""

import json
import os
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

import stripe

ROOT = Path(__file__).resolve().parents[2]
SECRET_KEY = "sk_test_contract"
PUBLISHABLE_KEY = "pk_test_contract"


class Peer:
    """One running processor: `client` speaks to it as the portal does, `control` throws its switches."""

    def __init__(
        self, state_dir: Path, *, webhook_url: str = "", webhook_secret: str = "whsec_contract"
    ) -> None:
        self.state_dir = state_dir
        self.clock_file = state_dir / "clock.json"
        self.webhook_secret = webhook_secret
        self._webhook_url = webhook_url
        self.port = 0
        self.start()

    def start(self) -> None:
        """Serve, on the same port as before if there was one."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STRIPE_")}
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "config.demo.processor", "--port", str(self.port)),
                *("--state-dir", str(self.state_dir), "--clock-file", str(self.clock_file)),
                *("--webhook-url", self._webhook_url, "--webhook-secret", self.webhook_secret),
                *("--secret-key", SECRET_KEY, "--publishable-key", PUBLISHABLE_KEY),
            ],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> stripe.StripeClient:
        """A client of its own connections, without retries."""
        return stripe.StripeClient(SECRET_KEY, base_addresses={"api": self.url}, max_network_retries=0)

    def control(self, method: str, switch: str, /, **params: Any) -> Any:
        """The answer of one control request, an AssertionError when it was refused."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, f"/_control/{switch}", json.dumps(params))
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        assert response.status == 200, answer
        return answer

    def set_clock(self, *, offset_seconds: int) -> None:
        self.clock_file.write_text(json.dumps({"offset_seconds": offset_seconds}))

    def kill(self) -> None:
        """As the kernel would: no warning, no clean-up."""
        self.process.kill()
        self.process.wait()
        self._close_output()

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        self.process.terminate()
        code = self.process.wait(timeout=10)
        self._close_output()
        return code

    def _close_output(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()
