import django.db.models.deletion
from django.db import migrations, models

import observability.vocabulary


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Trace",
            fields=[
                ("id", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("node", models.CharField(blank=True, default="", max_length=200)),
                ("key_id", models.BigIntegerField(blank=True, null=True)),
                ("key_label", models.CharField(blank=True, default="", max_length=200)),
                ("dialect", models.CharField(blank=True, default="", max_length=20)),
                ("requested_model", models.CharField(blank=True, default="", max_length=200)),
                ("model", models.CharField(blank=True, default="", max_length=200)),
                ("conversation_id", models.CharField(blank=True, max_length=200, null=True)),
                ("client_ip", models.CharField(blank=True, default="", max_length=64)),
                ("user_agent", models.CharField(blank=True, default="", max_length=300)),
                ("stream", models.BooleanField(default=False)),
                ("thinking", models.BooleanField(default=False)),
                ("tool_count", models.PositiveBigIntegerField(default=0)),
                ("message_count", models.PositiveBigIntegerField(default=0)),
                ("prompt_chars", models.PositiveBigIntegerField(default=0)),
                ("system_chars", models.PositiveBigIntegerField(default=0)),
                ("body_bytes", models.PositiveBigIntegerField(default=0)),
                ("received_at", models.DateTimeField()),
                ("queued_at", models.DateTimeField(blank=True, null=True)),
                ("admitted_at", models.DateTimeField(blank=True, null=True)),
                ("worker_ready_at", models.DateTimeField(blank=True, null=True)),
                ("first_event_at", models.DateTimeField(blank=True, null=True)),
                ("first_token_at", models.DateTimeField(blank=True, null=True)),
                ("last_event_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("active", "active"),
                            ("completed", "completed"),
                            ("error", "error"),
                            ("cancelled", "cancelled"),
                            ("refused", "refused"),
                            ("interrupted", "interrupted"),
                        ],
                        default=observability.vocabulary.Status["ACTIVE"],
                        max_length=16,
                    ),
                ),
                ("phase", models.CharField(default=observability.vocabulary.Phase["RECEIVED"], max_length=16)),
                (
                    "end_reason",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("completed", "completed"),
                            ("client_disconnect", "client disconnect"),
                            ("stall", "stall"),
                            ("max_duration", "max duration"),
                            ("max_output", "max output"),
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
                ("stop_reason", models.CharField(blank=True, default="", max_length=64)),
                ("queue_ms", models.PositiveBigIntegerField(blank=True, null=True)),
                ("ttft_ms", models.PositiveBigIntegerField(blank=True, null=True)),
                ("duration_ms", models.PositiveBigIntegerField(blank=True, null=True)),
                ("input_tokens", models.PositiveBigIntegerField(default=0)),
                ("output_tokens", models.PositiveBigIntegerField(default=0)),
                ("cache_read_tokens", models.PositiveBigIntegerField(default=0)),
                ("cache_creation_tokens", models.PositiveBigIntegerField(default=0)),
                ("cost_micro_usd", models.PositiveBigIntegerField(blank=True, null=True)),
                ("output_chars", models.PositiveBigIntegerField(default=0)),
                ("tool_calls", models.PositiveBigIntegerField(default=0)),
                ("event_count", models.PositiveBigIntegerField(default=0)),
                ("event_types", models.JSONField(blank=True, default=dict)),
                ("stalls", models.PositiveBigIntegerField(default=0)),
                ("retries", models.PositiveBigIntegerField(default=0)),
                ("worker_pid", models.PositiveBigIntegerField(blank=True, null=True)),
                ("error_type", models.CharField(blank=True, default="", max_length=40)),
                ("error_message", models.CharField(blank=True, default="", max_length=1000)),
                ("error_phase", models.CharField(blank=True, default="", max_length=16)),
                ("upstream_status", models.PositiveIntegerField(blank=True, null=True)),
                ("upstream_type", models.CharField(blank=True, default="", max_length=64)),
            ],
            options={
                "ordering": ("-received_at", "-id"),
            },
        ),
        migrations.CreateModel(
            name="Rollup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("resolution_s", models.PositiveIntegerField()),
                (
                    "dimension",
                    models.CharField(
                        choices=[("all", "All"), ("model", "Model"), ("key", "Key"), ("error", "Error")], max_length=8
                    ),
                ),
                ("start", models.PositiveBigIntegerField()),
                ("value", models.CharField(blank=True, max_length=200)),
                ("label", models.CharField(blank=True, default="", max_length=200)),
                ("requests", models.PositiveBigIntegerField(default=0)),
                ("completed", models.PositiveBigIntegerField(default=0)),
                ("errors", models.PositiveBigIntegerField(default=0)),
                ("cancelled", models.PositiveBigIntegerField(default=0)),
                ("refused", models.PositiveBigIntegerField(default=0)),
                ("interrupted", models.PositiveBigIntegerField(default=0)),
                ("queue_ms", models.PositiveBigIntegerField(default=0)),
                ("queue_n", models.PositiveBigIntegerField(default=0)),
                ("ttft_ms", models.PositiveBigIntegerField(default=0)),
                ("ttft_n", models.PositiveBigIntegerField(default=0)),
                ("duration_ms", models.PositiveBigIntegerField(default=0)),
                ("duration_n", models.PositiveBigIntegerField(default=0)),
                ("duration_ms_max", models.PositiveBigIntegerField(default=0)),
                ("output_ms", models.PositiveBigIntegerField(default=0)),
                ("output_chars", models.PositiveBigIntegerField(default=0)),
                ("input_tokens", models.PositiveBigIntegerField(default=0)),
                ("output_tokens", models.PositiveBigIntegerField(default=0)),
                ("cache_read_tokens", models.PositiveBigIntegerField(default=0)),
                ("cache_creation_tokens", models.PositiveBigIntegerField(default=0)),
                ("cost_micro_usd", models.PositiveBigIntegerField(default=0)),
                ("stalls", models.PositiveBigIntegerField(default=0)),
                ("retries", models.PositiveBigIntegerField(default=0)),
                ("first_at", models.FloatField(default=0)),
                ("last_at", models.FloatField(default=0)),
                ("last_error_at", models.FloatField(default=0)),
                ("last_error_id", models.CharField(blank=True, default="", max_length=64)),
            ],
        ),
        migrations.CreateModel(
            name="RollupBucket",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("resolution_s", models.PositiveIntegerField()),
                (
                    "dimension",
                    models.CharField(
                        choices=[("all", "All"), ("model", "Model"), ("key", "Key"), ("error", "Error")], max_length=8
                    ),
                ),
                ("start", models.PositiveBigIntegerField()),
                ("value", models.CharField(blank=True, max_length=200)),
                (
                    "metric",
                    models.CharField(
                        choices=[("queue", "Queue"), ("ttft", "Ttft"), ("duration", "Duration")], max_length=8
                    ),
                ),
                ("bucket", models.PositiveSmallIntegerField()),
                ("count", models.PositiveBigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="ErrorDump",
            fields=[
                (
                    "trace",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="dump",
                        serialize=False,
                        to="observability.trace",
                    ),
                ),
                ("created_at", models.DateTimeField(db_index=True)),
                ("data", models.JSONField(default=dict)),
            ],
        ),
        migrations.CreateModel(
            name="StoredBody",
            fields=[
                (
                    "trace",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="stored_body",
                        serialize=False,
                        to="observability.trace",
                    ),
                ),
                ("created_at", models.DateTimeField(db_index=True)),
                ("request", models.JSONField(null=True)),
                ("answer", models.JSONField(null=True)),
            ],
            options={
                "verbose_name_plural": "stored bodies",
            },
        ),
        migrations.AddIndex(
            model_name="trace",
            index=models.Index(fields=["received_at", "id"], name="trace_received"),
        ),
        migrations.AddIndex(
            model_name="trace",
            index=models.Index(fields=["status", "received_at", "id"], name="trace_status"),
        ),
        migrations.AddIndex(
            model_name="trace",
            index=models.Index(fields=["end_reason", "received_at", "id"], name="trace_end_reason"),
        ),
        migrations.AddIndex(
            model_name="trace",
            index=models.Index(fields=["model", "received_at", "id"], name="trace_model"),
        ),
        migrations.AddIndex(
            model_name="trace",
            index=models.Index(fields=["key_id", "received_at", "id"], name="trace_key"),
        ),
        migrations.AddIndex(
            model_name="trace",
            index=models.Index(
                condition=models.Q(("conversation_id__isnull", False)),
                fields=["conversation_id", "received_at", "id"],
                name="trace_conversation",
            ),
        ),
        migrations.AddConstraint(
            model_name="rollup",
            constraint=models.UniqueConstraint(
                fields=("resolution_s", "dimension", "start", "value"), name="rollup_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="rollupbucket",
            constraint=models.UniqueConstraint(
                fields=("resolution_s", "dimension", "start", "value", "metric", "bucket"), name="rollup_bucket_once"
            ),
        ),
    ]
