"""Which jobs a person sees of some, and when jobs and their files are forgotten."""

from collections.abc import Collection
from datetime import datetime

from django.conf import settings

from config.kit.actors import Actor
from config.kit.tenancy import atomic, use_login
from directory.models import Job, JobPart, JobRow


def jobs_seen(actor: Actor, keys: Collection[str]) -> set[str]:
    """Which of these jobs the person sees. One query."""
    return {
        str(key) for key in Job.objects.visible_to(actor).filter(key__in=keys).values_list("key", flat=True)
    }


def forget_jobs(*, at: datetime, limit: int = 1000) -> int:
    """Delete what is kept no longer: result files after `JOB_FILES_KEPT`, jobs with their rows after `JOBS_KEPT`.

    By the worker's login. How many jobs were deleted.
    """
    with use_login("worker"), atomic():
        stale = Job.objects.filter(finished_at__lte=at - settings.JOB_FILES_KEPT, file_bytes__gt=0)
        ids = list(
            stale.order_by("id").select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit]
        )
        JobPart.objects.filter(job_id__in=ids).delete()
        Job.objects.filter(pk__in=ids).update(file_bytes=0)
    with use_login("worker"), atomic():
        old = Job.objects.filter(finished_at__lte=at - settings.JOBS_KEPT)
        ids = list(
            old.order_by("id").select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit]
        )
        JobPart.objects.filter(job_id__in=ids).delete()
        JobRow.objects.filter(job_id__in=ids).delete()
        Job.objects.filter(pk__in=ids).delete()
    return len(ids)
