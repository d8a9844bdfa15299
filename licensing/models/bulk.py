"""The list of people that a job works through, until it has."""

from django.db import models

from config.kit.tenancy import SameTenant, TenantModel


class BulkPiece(TenantModel):
    """Up to a thousand rows of a list, in the order of the list; one chunk of the job.

    `rows` are `[line, who, user id or null, what is wrong with it or ""]`. Deleted in the transaction of what became
    of them; what a canceled job has left over is deleted with the job.
    """

    tenant = models.ForeignKey(
        "directory.Tenant", on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    job = models.ForeignKey("directory.Job", on_delete=models.CASCADE, related_name="+", db_constraint=False)
    number = models.IntegerField()
    rows = models.JSONField()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="job", name="licensing_bulkpiece_job"),
            models.UniqueConstraint(fields=["job", "number"], name="licensing_bulkpiece_once"),
        ]
