"""Variables that Kubernetes sets for a Service named like this gateway."""

import pytest

from proxy_site.service_links import without_service_links

OF_A_SERVICE = {
    "CLAUDE_PROXY_PORT": "tcp://10.0.0.1:3456",
    "CLAUDE_PROXY_SERVICE_HOST": "10.0.0.1",
    "CLAUDE_PROXY_SERVICE_PORT": "3456",
    "CLAUDE_PROXY_SERVICE_PORT_HTTP": "3456",
    "CLAUDE_PROXY_PORT_3456_TCP": "tcp://10.0.0.1:3456",
    "CLAUDE_PROXY_PORT_3456_TCP_PROTO": "tcp",
    "CLAUDE_PROXY_PORT_3456_TCP_PORT": "3456",
    "CLAUDE_PROXY_PORT_3456_TCP_ADDR": "10.0.0.1",
    "CLAUDE_PROXY_METRICS_PORT": "tcp://[fd00::1]:9090",
    "CLAUDE_PROXY_METRICS_SERVICE_HOST": "fd00::1",
}
OTHERS = {
    "CLAUDE_PROXY_PORT": "3456",
    "CLAUDE_PROXY_HOST": "10.0.0.1",
    "CLAUDE_PROXY_SERVICE_HOST": "example.org",
    "CLAUDE_PROXY_PRT": "tcp://10.0.0.1:3456",
    "REDIS_PORT": "tcp://10.0.0.2:6379",
}


def test_leave_out_variables_of_a_service() -> None:
    assert without_service_links({**OF_A_SERVICE, "HOME": "/h"}, prefix="CLAUDE_PROXY_") == {"HOME": "/h"}


@pytest.mark.parametrize("name", OTHERS)
def test_keep_settings_and_typos(name: str) -> None:
    assert without_service_links({name: OTHERS[name]}, prefix="CLAUDE_PROXY_") == {name: OTHERS[name]}
