"""A payer has a card once, a removed one is forgotten over there too, and adding one only moves forward (I-15)."""

import config.kit.tenancy
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


# Each pair is one arrow of the drawn graph; what is not here, the database refuses.
SETUP_FORWARD = """
CREATE FUNCTION commerce_cardsetup_forward() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public
AS $$
BEGIN
    IF (OLD.state, NEW.state) NOT IN (
        ('open', 'confirming'), ('open', 'failed'), ('open', 'abandoned'),
        ('confirming', 'action'), ('confirming', 'done'), ('confirming', 'failed'), ('confirming', 'abandoned'),
        ('action', 'done'), ('action', 'failed'), ('action', 'abandoned')
    ) THEN
        RAISE EXCEPTION 'A % row does not go from % to %', TG_TABLE_NAME, OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'commerce_cardsetup_forward';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER commerce_cardsetup_forward BEFORE UPDATE OF state ON commerce_cardsetup FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION commerce_cardsetup_forward();
"""
SETUP_ANY_WAY = """
DROP TRIGGER commerce_cardsetup_forward ON commerce_cardsetup;
DROP FUNCTION commerce_cardsetup_forward();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('commerce', '0010_refunds'),
        ('directory', '0003_mail_preferences'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='card',
            name='detached_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='card',
            name='fingerprint',
            field=models.CharField(blank=True, db_default='', default='', max_length=40),
        ),
        migrations.AddField(
            model_name='cardsetup',
            name='subscription',
            field=models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='commerce.subscription'),
        ),
        migrations.AddIndex(
            model_name='card',
            index=models.Index(condition=models.Q(('detached_at__isnull', True), ('removed_at__isnull', False)), fields=['id'], name='commerce_card_to_detach'),
        ),
        migrations.AddIndex(
            model_name='card',
            index=models.Index(condition=models.Q(('expiry_noticed_at__isnull', True), ('removed_at__isnull', True)), fields=['expires_year', 'expires_month', 'id'], name='commerce_card_expiring'),
        ),
        migrations.AddConstraint(
            model_name='card',
            constraint=models.UniqueConstraint(condition=models.Q(('removed_at__isnull', True), models.Q(('fingerprint', ''), _negated=True)), fields=('tenant', 'user', 'fingerprint'), name='commerce_card_once', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='card',
            constraint=models.CheckConstraint(condition=models.Q(('detached_at__isnull', True), ('removed_at__isnull', False), _connector='OR'), name='commerce_card_detached'),
        ),
        migrations.AddConstraint(
            model_name='cardsetup',
            constraint=config.kit.tenancy.SameTenant(field='subscription', name='commerce_cardsetup_subscription'),
        ),
        migrations.AddIndex(
            model_name='subscription',
            index=models.Index(condition=models.Q(('agreement__isnull', True), ('owner_kind', 'organization')), fields=['tenant', 'id'], name='commerce_sub_org_by_card'),
        ),
        migrations.RunSQL(SETUP_FORWARD, SETUP_ANY_WAY),
    ]
