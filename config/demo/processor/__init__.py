"""A card processor for the demo, the tests and the load runs: a separate process that speaks Stripe's API.

`python -m config.demo.processor` serves the part of the API that Seatkeeper uses to the official `stripe`
SDK, signs and delivers webhooks, and serves a browser script with the calls in use. No real money moves and
only Stripe's published test cards are known. The contract suite in `tests/contract/` judges it.

Nothing here imports Django: the process starts in a fraction of a second.
"""
