from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("observability", "0004_unpriced"),
    ]

    operations = [
        migrations.AddField(
            model_name="trace",
            name="usage_estimated",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
