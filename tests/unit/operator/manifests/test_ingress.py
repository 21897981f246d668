"""The Ingresses say to ingress-nginx what docs/nginx.conf says to nginx."""

import re
from pathlib import Path

from ccl_operator.api.v1alpha1 import Http
from ccl_operator.manifests.ingress import IMPORT_PATH, ingresses
from ccl_operator.manifests.meta import Target

TARGET = Target("ccl", "loans", "uid")
CONF = (Path(__file__).parents[4] / "docs" / "nginx.conf").read_text()
PREFIX = "nginx.ingress.kubernetes.io/"


def built(**changes):
    wanted = {"host": "loans.example.com", "ingressClassName": "nginx", "tlsSecretName": "tls", **changes}
    return ingresses(TARGET, Http.model_validate(wanted))


def directive(name):
    return re.findall(rf"^\s*{name} ([^;]+);", CONF, re.MULTILINE)


def test_without_class_and_certificate_there_is_none():
    assert built(ingressClassName=None, tlsSecretName=None) == ()
    assert built(host=None) == ()


def test_host_class_and_certificate_are_those_of_the_specification():
    for each in built():
        assert each["spec"]["ingressClassName"] == "nginx"
        assert each["spec"]["tls"] == [{"hosts": ["loans.example.com"], "secretName": "tls"}]
        assert [rule["host"] for rule in each["spec"]["rules"]] == ["loans.example.com"]
    assert "tls" not in built(tlsSecretName=None)[0]["spec"]


def test_times_and_retries_are_those_of_the_example_for_nginx():
    for each in built():
        notes = each["metadata"]["annotations"]
        for name in ("proxy-connect-timeout", "proxy-send-timeout", "proxy-read-timeout"):
            assert directive(name.replace("-", "_")) == [f"{notes[PREFIX + name]}s"]
        assert directive("proxy_next_upstream") == [notes[f"{PREFIX}proxy-next-upstream"]]
        assert directive("proxy_next_upstream_tries") == [notes[f"{PREFIX}proxy-next-upstream-tries"]]


def test_only_the_import_takes_large_bodies_and_takes_them_as_they_come():
    usual, large = built()
    assert usual["metadata"]["annotations"][f"{PREFIX}proxy-body-size"] == str(10 * 2**20)
    assert large["metadata"]["annotations"][f"{PREFIX}proxy-body-size"] == directive("client_max_body_size")[1]
    assert large["metadata"]["annotations"][f"{PREFIX}proxy-request-buffering"] == "off"
    assert [path["path"] for path in large["spec"]["rules"][0]["http"]["paths"]] == [IMPORT_PATH]
    assert f"location = {IMPORT_PATH}" in CONF


def test_the_usual_limit_follows_the_specification():
    usual, _ = built(bodyLimit="5Mi")
    assert usual["metadata"]["annotations"][f"{PREFIX}proxy-body-size"] == str(5 * 2**20)
