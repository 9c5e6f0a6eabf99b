import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("apiproxy", "0012_key_cache_prompts"),
    ]

    operations = [
        migrations.CreateModel(
            name="RecentAnswer",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key_id", models.BigIntegerField()),
                ("expires_at", models.DateTimeField()),
                ("size_bytes", models.PositiveIntegerField()),
                ("sealed", models.BinaryField()),
            ],
            options={
                "indexes": [
                    models.Index(fields=["key_id", "expires_at", "size_bytes"], name="answer_of_key"),
                    models.Index(fields=["expires_at", "size_bytes"], name="answer_expires"),
                ],
            },
        ),
        migrations.CreateModel(
            name="RecentAnswerName",
            fields=[
                ("name", models.UUIDField(primary_key=True, serialize=False)),
                (
                    "answer",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="names",
                        to="apiproxy.recentanswer",
                    ),
                ),
            ],
        ),
    ]
