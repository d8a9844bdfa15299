"""Files that people send: never more of one than any page takes is kept (reliability §6)."""

from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler

# The largest file that any page takes.
MOST_BYTES = 10_000_000


class BoundedUpload(TemporaryFileUploadHandler):
    """Writes a file to disk as it comes in, and of one that is too large a single byte more than is allowed.

    So a page that reads one byte more than it takes sees that the file is too large, and says so, whatever was sent.
    """

    chunk_size = 64 * 1024

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        kept = MOST_BYTES + 1 - start
        if kept > 0:
            super().receive_data_chunk(raw_data[:kept], start)

    def file_complete(self, file_size: int) -> "UploadedFile[bytes] | None":
        return super().file_complete(min(file_size, MOST_BYTES + 1))
