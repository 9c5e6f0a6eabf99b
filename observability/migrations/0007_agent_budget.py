from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("observability", "0006_engine_and_upstream_ids"),
    ]

    operations = [
        migrations.AlterField(
            model_name="trace",
            name="end_reason",
            field=models.CharField(
                blank=True,
                choices=[
                    ("completed", "completed"),
                    ("client_disconnect", "client disconnect"),
                    ("stall", "stall"),
                    ("max_duration", "max duration"),
                    ("max_output", "max output"),
                    ("agent_budget", "agent budget"),
                    ("queue_timeout", "queue timeout"),
                    ("upstream_error", "upstream error"),
                    ("worker_died", "worker died"),
                    ("cancelled", "cancelled"),
                    ("refused", "refused"),
                    ("interrupted", "interrupted"),
                    ("internal", "internal"),
                ],
                default="",
                max_length=24,
            ),
        ),
    ]
