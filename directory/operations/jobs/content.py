"""A job's result file, kept in pieces."""

from collections.abc import Iterable, Iterator

from django.db.models import Max

from directory.models import Job, JobPart

# The size of a piece.
PART_BYTES = 1024 * 1024


def add_content(job: Job, content: bytes) -> None:
    for start in range(0, len(content), PART_BYTES):
        _add_part(job, content[start : start + PART_BYTES])


def _add_part(job: Job, content: bytes) -> None:
    last = JobPart.objects.filter(job=job).aggregate(last=Max("number"))["last"]
    JobPart.objects.create(
        tenant_id=job.tenant_id, job=job, number=0 if last is None else last + 1, content=content
    )
    job.file_bytes += len(content)


def content_of(job: Job) -> Iterator[bytes]:
    """The pieces of the result file written so far, in order, one in memory at a time. One query a piece."""
    number, last = -1, JobPart.objects.filter(job=job).aggregate(last=Max("number"))["last"]
    kept = JobPart.objects.filter(job=job, number__lte=-1 if last is None else last)
    while part := kept.filter(number__gt=number).order_by("number").first():
        yield bytes(part.content)
        number = part.number


def replace_content(job: Job, pieces: Iterable[bytes]) -> None:
    """Write the result file anew, for the last chunk of a job whose pieces so far were not yet the file.

    `pieces` may read `content_of` the job meanwhile. Little more than a megabyte is in memory.
    """
    old = list(JobPart.objects.filter(job=job).values_list("pk", flat=True))
    job.file_bytes, waiting = 0, bytearray()
    for piece in pieces:
        waiting += piece
        if len(waiting) >= PART_BYTES:
            _add_part(job, bytes(waiting))
            waiting.clear()
    if waiting:
        _add_part(job, bytes(waiting))
    JobPart.objects.filter(pk__in=old).delete()
