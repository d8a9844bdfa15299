"""What Seatkeeper relies on in a card processor, and the peer of `config/demo/processor` held to it.

The same tests run against our own peer, against seahaven-stripe-world where it can be imported (Python 3.14),
and against Stripe's test mode when `STRIPE_TEST_SECRET_KEY` is set.
"""
