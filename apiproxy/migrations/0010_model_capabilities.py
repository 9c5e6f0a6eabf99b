from django.db import migrations, models

from apiproxy.models.names import validate_capabilities


class Migration(migrations.Migration):
    dependencies = [
        ("apiproxy", "0009_model_engine"),
    ]

    operations = [
        migrations.AddField(
            model_name="model",
            name="capabilities",
            field=models.JSONField(
                blank=True,
                help_text="`capabilities` of the Models API, as JSON. Empty: unknown.",
                null=True,
                validators=[validate_capabilities],
            ),
        ),
        migrations.AddField(
            model_name="model",
            name="description",
            field=models.CharField(blank=True, help_text="Shown by clients that list models.", max_length=500),
        ),
    ]
