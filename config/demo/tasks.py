"""What the worker does in demo mode only."""

from celery import shared_task

from config.demo import walk


@shared_task(name="demo.walk_days", acks_late=False, soft_time_limit=3300, time_limit=3360)
def walk_days(days: int, token: str) -> None:
    """Move the clock so many days; never again from the start when the worker is lost on the way."""
    walk.walk(days, token)
