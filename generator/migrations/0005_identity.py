from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('generator', '0004_worker'),
    ]

    operations = [
        migrations.AddField(
            model_name='generation',
            name='client_digest',
            field=models.CharField(blank=True, editable=False, max_length=64),
        ),
    ]
