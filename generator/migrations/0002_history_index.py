from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('generator', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='generation',
            name='generator_g_user_id_0ae2b7_idx',
        ),
        migrations.RemoveIndex(
            model_name='generation',
            name='generator_g_visitor_e3ac31_idx',
        ),
        migrations.AddIndex(
            model_name='generation',
            index=models.Index(fields=['user', 'visitor', '-created_at', '-id'], name='generation_history'),
        ),
    ]
