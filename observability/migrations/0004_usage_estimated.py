from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("observability", "0003_processes"),
    ]

    operations = [
        migrations.AddField(
            model_name="trace",
            name="usage_estimated",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
