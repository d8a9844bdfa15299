"""The WSGI entry that gunicorn serves."""

import os

from django.core.wsgi import get_wsgi_application

from config.deployment import refuse_unless_sound

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_wsgi_application()
refuse_unless_sound()
