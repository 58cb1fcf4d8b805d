"""Calls by the server's OpenAPI document, right and wrong ones, whose answers must be what the document says."""

import contextlib
import random
from collections import Counter

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    response_headers_conformance, allow_header_conformance,
]  # fmt: skip
VIDEOS = ("video/mp4", "video/quicktime", "video/webm", "video/x-matroska", "video/x-msvideo")
HUNG_S = 10.0
STRANGERS = 0.2
"""The share of calls without a token."""


@schemathesis.serializer(*VIDEOS)
def as_it_is(_context, value):
    """A clip's bytes, or, where the case is to be wrong, something else as text."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


def fuzz_http(url: str, token: str, cases: int, number: int) -> dict[str, float]:
    """So many calls, spread over the document's operations, as many by its rules as against them where there is a way."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [one.ok() for one in schema.get_all_operations()]
    told: Counter[str] = Counter()
    chance, jobs = random.Random(number), [""]
    with requests.Session() as session:

        def call(case: Case) -> None:
            if chance.random() < 0.5 and case.path_parameters:
                case.path_parameters = dict.fromkeys(case.path_parameters, jobs[0] or "none")
            told["cases"] += 1
            bearer = {} if chance.random() < STRANGERS else {"Authorization": f"Bearer {token}"}
            try:
                response = case.call(base_url=url, session=session, headers=bearer, timeout=HUNG_S)
            except requests.RequestException as error:
                told["faults"] += 1
                print(f"http: {case.method} {case.path}: {type(error).__name__}: {error}"[:300])
                return
            told["5xx"] += response.status_code >= 500
            if response.status_code == 202:
                jobs[0] = response.json()["job"]
            try:
                case.validate_response(response, checks=CHECKS)
            except FailureGroup as group:
                told["faults"] += 1
                for failure in group.exceptions:
                    print(
                        f"http: {case.method} {case.path}: {response.status_code} {' '.join(str(failure).split())[:300]}"
                    )

        kinds = [(operation, mode) for operation in operations for mode in GenerationMode]
        while kinds and (left := cases - told["cases"]) > 0:
            share = max(1, round(left / len(kinds)))
            for kind in list(kinds):
                before = told["cases"]
                _some(*kind, share, number + before, call)
                if told["cases"] - before < share / 2:  # there are no more
                    kinds.remove(kind)
    return {"http_cases": told["cases"], "http_5xx": told["5xx"], "http_faults": told["faults"]}


def _some(operation, mode: GenerationMode, most: int, number: int, call) -> None:
    """Let `call` have so many cases of an operation; fewer where its parameters leave no room for more."""
    settle = settings(
        max_examples=most,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    @seed(number)
    @settle
    @given(case=operation.as_strategy(generation_mode=mode))
    def some(case: Case) -> None:
        call(case)

    with contextlib.suppress(Unsatisfiable):  # an operation without parameters cannot be called wrongly
        some()
