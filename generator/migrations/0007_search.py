from django.conf import settings
from django.db import migrations, models

from generator.text import folded

AT_ONCE = 500


def fold_ended(apps, schema_editor):
    """Fold what has ended by now; housekeeping folds the rest."""
    rows = apps.get_model("generator", "Generation").objects.using(schema_editor.connection.alias)
    ended = rows.filter(folded=None, state__in=("done", "cancelled", "failed")).order_by()
    while batch := list(ended.values_list("pk", "prompt", "text")[:AT_ONCE]):
        for pk, prompt, text in batch:
            rows.filter(pk=pk).update(folded=folded(prompt + text))


class Migration(migrations.Migration):

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ('generator', '0006_registry'),
    ]

    operations = [
        migrations.AddField(
            model_name='generation',
            name='folded',
            field=models.TextField(editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name='generation',
            index=models.Index(condition=models.Q(('folded', None)), fields=['user', 'visitor'], name='generation_unfolded'),
        ),
        migrations.RunPython(fold_ended, migrations.RunPython.noop),
    ]
