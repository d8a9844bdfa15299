"""When a product came into the catalogue, for the purchase policy's rule for new products.

What is there already came before any such rule was made.
"""

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("commerce", "0015_card_from_now_on")]

    operations = [
        migrations.AddField(
            model_name="product",
            name="added_at",
            field=models.DateTimeField(
                db_default=django.db.models.functions.datetime.Now(), editable=False
            ),
        ),
    ]
