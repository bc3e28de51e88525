from django.db import migrations, models


def name_housekeeping(apps, schema_editor):
    """Set the role of rows whose id told it so far; the default is right for all others."""
    rows = apps.get_model("generator", "Worker").objects.using(schema_editor.connection.alias)
    rows.filter(pk__startswith="housekeeping-").update(role="housekeeping")


class Migration(migrations.Migration):

    dependencies = [
        ('generator', '0007_search'),
    ]

    operations = [
        migrations.AddField(
            model_name='worker',
            name='role',
            field=models.CharField(choices=[('worker', 'Worker'), ('housekeeping', 'Housekeeping')], default='worker', max_length=20),
            preserve_default=False,
        ),
        migrations.RunPython(name_housekeeping, migrations.RunPython.noop),
    ]
