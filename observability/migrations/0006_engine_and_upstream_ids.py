from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("observability", "0005_usage_estimated"),
    ]

    operations = [
        migrations.AddField(
            model_name="trace",
            name="claude_code_agent_id",
            field=models.CharField(blank=True, db_default="", default="", max_length=200),
        ),
        migrations.AddField(
            model_name="trace",
            name="claude_code_parent_agent_id",
            field=models.CharField(blank=True, db_default="", default="", max_length=200),
        ),
        migrations.AddField(
            model_name="trace",
            name="claude_code_session_id",
            field=models.CharField(blank=True, max_length=200, null=True),
        ),
        migrations.AddField(
            model_name="trace",
            name="engine",
            field=models.CharField(blank=True, db_default="", default="", max_length=8),
        ),
        migrations.AddField(
            model_name="trace",
            name="upstream_request_id",
            field=models.CharField(blank=True, max_length=200, null=True),
        ),
        migrations.AddIndex(
            model_name="trace",
            index=models.Index(
                condition=models.Q(("claude_code_session_id__isnull", False)),
                fields=["claude_code_session_id", "received_at", "id"],
                name="trace_claude_code_session",
            ),
        ),
        migrations.AddIndex(
            model_name="trace",
            index=models.Index(
                condition=models.Q(("upstream_request_id__isnull", False)),
                fields=["upstream_request_id", "received_at", "id"],
                name="trace_upstream_request",
            ),
        ),
    ]
