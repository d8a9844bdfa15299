"""`python -m config.demo.processor`: serve until SIGTERM or SIGINT."""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from .api import Api
from .clock import Clock
from .server import Server
from .store import Store
from .webhooks import Delivery, Webhooks

_LIVE = ("sk_live_", "rk_live_")


def main(arguments: list[str] | None = None) -> int:
    """Serve; 2 when there is a live key in reach, which never belongs beside this."""
    options = _parser().parse_args(arguments)
    keys = [os.environ.get("STRIPE_SECRET_KEY", ""), options.secret_key]
    if any(key.startswith(_LIVE) for key in keys):
        print("Refused: a live Stripe key is set. This processor is for test keys only.", file=sys.stderr)
        return 2
    store = Store(options.state_dir)
    events = tuple(name.strip() for name in options.webhook_events.split(",") if name.strip())
    webhooks = Webhooks(
        store, Delivery(url=options.webhook_url, secret=options.webhook_secret, events=events)
    )
    api = Api(
        store,
        Clock(options.clock_file),
        webhooks,
        secret_key=options.secret_key,
        publishable_key=options.publishable_key,
    )
    server = Server((options.host, options.port), api, merchant=options.merchant)

    def stop(*_: object) -> None:
        # shutdown() waits for the serving loop, which is this very thread.
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    webhooks.start()
    host, port = server.server_address[:2]
    print(f"Card processor on http://{host!s}:{port}", flush=True)
    try:
        server.serve_forever(poll_interval=0.1)
    finally:
        server.server_close()
        webhooks.stop()
        store.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m config.demo.processor", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one; it is printed")
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--webhook-url", default="", help="none: no webhooks")
    parser.add_argument("--webhook-secret", default="whsec_demo")
    parser.add_argument("--webhook-events", default="*", help="comma-separated patterns, such as charge.*")
    parser.add_argument("--clock-file", type=Path, default=None, help='a JSON file: {"offset_seconds": N}')
    parser.add_argument("--secret-key", default="sk_test_demo")
    parser.add_argument("--publishable-key", default="pk_test_demo")
    parser.add_argument(
        "--merchant", default="Seatkeeper Demo", help="the name that a cardholder's bank shows"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
