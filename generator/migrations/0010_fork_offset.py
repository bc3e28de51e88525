from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('generator', '0009_state_labels'),
    ]

    operations = [
        migrations.AddField(
            model_name='generation',
            name='fork_offset',
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
    ]
