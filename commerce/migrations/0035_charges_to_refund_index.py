"""The few charges that are to be given back are found by an index, made beside the charges that go on."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("commerce", "0034_charges_to_refund")]

    operations = [
        AddIndexConcurrently(
            model_name="paymentattempt",
            index=models.Index(
                condition=models.Q(("decline_code", "to_refund")),
                fields=["id"],
                name="commerce_attempt_to_refund",
            ),
        ),
    ]
