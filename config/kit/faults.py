"""Named points at which a drill kills its own process (reliability §4): R0 take what is due, R1 bill and
advance, R2 attempt and lease, R3 create the intent, R4 commit its id, R5 confirm it, R6 outcome, R7 lease
released, R8 mail. Of a refund: G1 credit note and attempt, G2 take due, G3 ask the processor,
G4 outcome, G5 lease released. Of adding a card: C1 detach one, C2 row, C3 create the setup, C4 commit its id,
C5 confirm it, C6 outcome. Of a job: J0 take it, J1 one chunk. Of a centralization's money: Z1 one purchase.
Of a call with an Idempotency-Key: K0 claim it, K1 answer it. Of a webhook: W1 send it. Each `:before` and `:after`; what is not
committed yet, `:uncommitted`.
"""

import os
import signal
import threading

VARIABLE = "SEATKEEPER_FAULT"

_counting = threading.Lock()


def reached(point: str) -> None:
    """Die as by `kill -9` when the environment names this point; `R5:after@3` lets the first two pass.

    Nothing sets the variable but a drill, for a process that it starts.
    """
    if not os.environ.get(VARIABLE, "").startswith(point):
        return
    with _counting:
        name, _, times = os.environ[VARIABLE].partition("@")
        if name != point:
            return
        left = int(times or 1) - 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        os.environ[VARIABLE] = f"{name}@{left}"
