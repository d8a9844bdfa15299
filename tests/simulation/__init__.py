"""Random histories of whole years, each made again by its seed (reliability §6, "Time + faults").

`make simulate SEEDS=200 YEARS=3`. One seed is one history of a few tenants: people buy, change and cancel, the
clock moves, sweeps run late, twice, in any order, or die half-way, and the card processor declines, loses answers,
is away and delivers its webhooks in any order. After every step the invariants and an independent model of the
books are asked.

A new kind of step is a function with a decorator in `deeds`; nothing else has to know about it.
"""
