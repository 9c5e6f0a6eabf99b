from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("apiproxy", "0011_seed_capabilities"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="cache_prompts",
            field=models.BooleanField(
                db_default=True,
                default=True,
                help_text="OpenAI API: a prompt without a cache breakpoint is cached for five minutes; writes cost 1.25 times.",
            ),
        ),
    ]
