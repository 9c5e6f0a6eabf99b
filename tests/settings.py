"""The site's settings for a test process: a state folder of its own, and none of the shell's variables.

A settings module rather than a conftest, because pytest-django reads the settings before any conftest.
"""

import atexit
import os
import shutil
import tempfile

_FOREIGN = ("CLAUDE_", "ANTHROPIC_", "AWS_", "DATABASE_URL", "REDIS_URL", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

for _name in [name for name in os.environ if name.upper().startswith(_FOREIGN)]:
    del os.environ[_name]
os.environ["CLAUDE_PROXY_STATE_DIR"] = _state_dir = tempfile.mkdtemp(prefix="claude-proxy-test-")
atexit.register(shutil.rmtree, _state_dir, ignore_errors=True)
os.environ["CLAUDE_PROXY_PORT"] = "0"
# A process that a test starts is not a test: it takes the settings that everybody takes.
os.environ["DJANGO_SETTINGS_MODULE"] = "proxy_site.settings"

from proxy_site.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # tests log in often
for _client in ("httpx", "httpx2"):  # a line for each of the thousands of requests hides what a failed test has to say
    LOGGING["loggers"][_client] = {"level": "WARNING"}  # noqa: F405
