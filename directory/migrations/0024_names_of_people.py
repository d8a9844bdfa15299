"""Whose the names are that stand beside what was done, and the one way in which entries leave the audit trail."""

from django.conf import settings
from django.db import migrations, models

OLD_ENTRIES_GO = """
CREATE OR REPLACE FUNCTION directory_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Inside forget_trail alone the worker is not who it signed in as.
    IF TG_OP = 'DELETE' AND session_user = '{worker}' AND current_user <> session_user
       AND OLD.at < now() - interval '180 days' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE FUNCTION forget_trail(older_than timestamptz, most integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    deleted bigint;
BEGIN
    IF session_user <> '{worker}' THEN
        RAISE EXCEPTION 'only the worker deletes entries of the trail' USING ERRCODE = 'insufficient_privilege';
    END IF;
    DELETE FROM public.directory_auditentry d WHERE d.id IN (
        SELECT e.id FROM public.directory_auditentry e
         WHERE e.at < least(older_than, now() - interval '180 days') ORDER BY e.at LIMIT most);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
REVOKE ALL ON FUNCTION forget_trail(timestamptz, integer) FROM PUBLIC
"""
NOTHING_GOES = """
DROP FUNCTION forget_trail(timestamptz, integer);
CREATE OR REPLACE FUNCTION directory_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$
"""
WORKER = str(settings.DATABASES["worker"]["USER"]).replace("'", "''")


class Migration(migrations.Migration):

    dependencies = [
        ('directory', '0023_mails_unsure'),
    ]

    operations = [
        migrations.AddField(
            model_name='apitoken',
            name='revoked_by_id',
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='roleassignment',
            name='granted_by_id',
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='staffassignment',
            name='granted_by_id',
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='user',
            name='name_forgotten_at',
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='webhookendpoint',
            name='created_by_id',
            field=models.BigIntegerField(null=True),
        ),
        migrations.RunSQL(OLD_ENTRIES_GO.replace("{worker}", WORKER), NOTHING_GOES),
    ]
