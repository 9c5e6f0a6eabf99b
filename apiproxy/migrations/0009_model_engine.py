from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("apiproxy", "0008_kept_bytes"),
    ]

    operations = [
        migrations.AddField(
            model_name="model",
            name="engine",
            field=models.CharField(
                blank=True,
                choices=[("sdk", "sdk"), ("http", "http")],
                db_default="",
                default="",
                help_text="Empty: the engine in CLAUDE_PROXY_ENGINE.",
                max_length=8,
            ),
        ),
    ]
