"""Checks of `manage.py serve` before it starts anything."""

from dataclasses import replace

import pytest
from django.conf import settings
from django.core.management.base import CommandError

from apiproxy.conf import Credential, GatewaySettings
from apiproxy.management.commands.serve import refuse_unsupported_engines
from apiproxy.models import Model

GATEWAY: GatewaySettings = settings.GATEWAY


@pytest.mark.django_db
def test_refuse_start_with_http_model_on_bedrock() -> None:
    bedrock = replace(GATEWAY, credential=Credential(kind="bedrock"))
    refuse_unsupported_engines(bedrock)
    Model.objects.filter(pk="claude-opus-5-5").update(engine="http")
    with pytest.raises(CommandError, match=r"claude-opus-5-5.*CLAUDE_CODE_USE_BEDROCK"):
        refuse_unsupported_engines(bedrock)
    refuse_unsupported_engines(replace(GATEWAY, credential=Credential(kind="api_key")))
    Model.objects.filter(pk="claude-opus-5-5").update(enabled=False)
    refuse_unsupported_engines(bedrock)
