"""Whatever a client sends: no fault of the server, and answers of the documented kind."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable

from tests.serve.live import Live

schemathesis = pytest.importorskip("schemathesis")
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: str(mode.value))
def test_documented_endpoints(server: Live, mode: Any) -> None:
    # Its plugin for pytest follows pytest's releases slowly, so its strategies are used as they are.
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    checks = [schemathesis.checks.CHECKS.get_one(name) for name in CHECKS]
    asked = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        if "/admin/" in operation.path:
            continue

        def probe(case: Any) -> None:
            response = case.call(base_url=server.url, timeout=30)
            case.validate_response(response, checks=checks)

        strategy = operation.as_strategy(generation_mode=mode)
        relaxed = settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        try:
            relaxed(given(case=strategy)(probe))()
        except Unsatisfiable:
            continue  # nothing about it can be wrong
        asked.add(operation.path)
    assert {"/v1/extraction", "/{name}", "/v1/sequence_classification"} <= asked
