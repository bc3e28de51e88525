from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('generator', '0008_worker_role'),
    ]

    operations = [
        migrations.AlterField(
            model_name='generation',
            name='state',
            field=models.CharField(choices=[('queued', 'Waiting'), ('running', 'Writing'), ('done', 'Done'), ('cancelled', 'Stopped'), ('failed', 'Failed')], default='queued', max_length=10),
        ),
    ]
