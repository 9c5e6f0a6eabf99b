from django.db import migrations, models
from django.db.models import OuterRef, Subquery
from django.db.models.functions import Length


def measure(apps, schema_editor):
    """What was kept before counts towards the key's quota too."""
    session, history = apps.get_model("apiproxy", "Session"), apps.get_model("apiproxy", "SessionHistory")
    sizes = history.objects.filter(session=OuterRef("pk")).annotate(size=Length("messages") + Length("answer"))
    session.objects.filter(history__isnull=False).update(stored_bytes=Subquery(sizes.values("size")[:1]))


class Migration(migrations.Migration):
    dependencies = [
        ("apiproxy", "0007_key_allow_lists"),
    ]

    operations = [
        migrations.AddField(
            model_name="session",
            name="stored_bytes",
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="session",
            name="unstored_turns",
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="session",
            name="unstored_reason",
            field=models.CharField(blank=True, max_length=16),
        ),
        migrations.RunPython(measure, migrations.RunPython.noop),
    ]
