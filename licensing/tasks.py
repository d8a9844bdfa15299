"""The sweeps of licensing: what a worker does for licenses when it is rung (architecture §7)."""

from config.kit.sweeps import Sweep, Turn, register
from licensing.operations import centralizing, groups, leaving, request_sweeps, waiting, workspaces

register(
    Sweep("licensing.free_licenses", leaving.free_licenses_of_leavers, every=600.0, turn=Turn.FREE),
    Sweep("licensing.settle_centralizations", centralizing.settle_due, every=300.0, turn=Turn.FREE),
    Sweep("licensing.serve_lines", waiting.serve_lines, every=60.0, turn=Turn.FREE),
    Sweep(groups.TASK, groups.follow_groups, every=30.0, turn=Turn.FREE),
    Sweep("licensing.even_out", groups.even_out_groups, every=60.0, turn=Turn.FREE),
    Sweep("licensing.recheck_groups", groups.recheck_groups, every=3600.0, turn=Turn.FREE),
    Sweep("licensing.keep_workspaces", workspaces.sweep_workspaces, every=3600.0, turn=Turn.FREE),
    Sweep("licensing.lapse_requests", request_sweeps.lapse_requests, every=3600.0, turn=Turn.CLOSE),
    Sweep("licensing.forget_requests", request_sweeps.forget_requests, every=3600.0, turn=Turn.FORGET),
)
