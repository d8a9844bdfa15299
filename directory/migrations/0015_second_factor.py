"""Second factors, which allauth keeps without a tenant, behind the wall of the person's home."""

from django.conf import settings
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

RULE = """
EXISTS (SELECT FROM directory_user u WHERE u.id = mfa_authenticator.user_id
        AND u.tenant_id = nullif(current_setting('seatkeeper.tenant_id', true), '')::bigint)
"""


def build(apps: object, editor: BaseDatabaseSchemaEditor) -> None:
    owner, worker = (editor.quote_name(str(settings.DATABASES[each]["USER"])) for each in ("owner", "worker"))
    editor.execute(
        "ALTER TABLE mfa_authenticator ENABLE ROW LEVEL SECURITY;"
        "ALTER TABLE mfa_authenticator FORCE ROW LEVEL SECURITY;"
        f"CREATE POLICY directory_authenticator_wall ON mfa_authenticator USING ({RULE}) WITH CHECK ({RULE});"
        f"CREATE POLICY directory_authenticator_wall_operations ON mfa_authenticator TO {owner}, {worker}"
        " USING (true) WITH CHECK (true)"
    )


def remove(apps: object, editor: BaseDatabaseSchemaEditor) -> None:
    editor.execute(
        "DROP POLICY directory_authenticator_wall_operations ON mfa_authenticator;"
        "DROP POLICY directory_authenticator_wall ON mfa_authenticator;"
        "ALTER TABLE mfa_authenticator NO FORCE ROW LEVEL SECURITY;"
        "ALTER TABLE mfa_authenticator DISABLE ROW LEVEL SECURITY"
    )


class Migration(migrations.Migration):

    dependencies = [
        ('directory', '0014_staff'),
        ('mfa', '0003_authenticator_type_uniq'),
    ]

    operations = [migrations.RunPython(build, remove)]
