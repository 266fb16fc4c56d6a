"""That what the description for programs states of DICOMweb is true (schemathesis)."""

from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from pydicom.uid import generate_uid
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from portal.models import Role
from tests.support.core import make_settings
from tests.support.dicomweb.answers import Exam, analyse
from tests.support.dicomweb.sent import RELATED, body_of
from tests.support.pictures import dicom
from tests.support.portal_app import make_app, make_person, make_study, make_token

SEARCHES = (
    *("searchStudies", "searchSeries", "searchInstances", "searchSeriesOfStudy"),
    *("searchInstancesOfStudy", "searchInstancesOfSeries"),
)
FILES = (
    *("retrieveStudy", "retrieveSeries", "retrieveInstance", "retrieveStudyMetadata"),
    *("retrieveSeriesMetadata", "retrieveInstanceMetadata", "retrieveFrames", "retrieveBulkdata"),
)
STORING = ("storeInstances", "storeInstancesOfStudy")


@schemathesis.serializer("multipart/related")
def as_parts(_context: Any, value: Any) -> bytes:
    """A body of one part."""
    return body_of([value if isinstance(value, bytes) else str(value).encode()])


@dataclass
class Described:
    """DICOMweb as its description has it, a token, and the UIDs of an exam that is there."""

    schema: Any
    headers: dict[str, str]
    there: dict[str, str]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Described:
    app = make_app(make_settings(tmp_path_factory.mktemp("described")))
    person = make_person(app, Role.READER)
    data = dicom(SeriesInstanceUID=generate_uid())
    exam = Exam(make_study(app, person, data=data), data)
    analyse(app, exam)
    token = make_token(app, person, "dicomweb:read", "dicomweb:write")
    return Described(
        schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app),
        {"Authorization": f"Bearer {token}"},
        {
            "study_uid": str(exam.header.StudyInstanceUID),
            "series_uid": str(exam.header.SeriesInstanceUID),
            "sop_uid": str(exam.header.SOPInstanceUID),
            "numbers": "1",
        },
    )


def strategy(described: Described, operation: str, mode: GenerationMode) -> Any:
    return described.schema.find_operation_by_id(operation).as_strategy(generation_mode=mode)


def few() -> Any:
    return settings(
        max_examples=10,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("operation", [*SEARCHES, *FILES])
def test_what_is_read_is_as_described(
    described: Described, operation: str, mode: GenerationMode
) -> None:
    # No pattern can tell which digits are a day and which words are keywords.
    skipped = [positive_data_acceptance] if operation in SEARCHES else []

    @few()
    @given(case=strategy(described, operation, mode))
    def holds(case: Case) -> None:
        case.call_and_validate(headers=described.headers, excluded_checks=skipped)
        if mode is GenerationMode.POSITIVE and case.path_parameters:
            known = {k: v for k, v in described.there.items() if k in case.path_parameters}
            case.path_parameters.update(known)
            case.call_and_validate(headers=described.headers, excluded_checks=skipped)

    holds()


@pytest.mark.parametrize("operation", STORING)
def test_what_is_stored_is_answered_as_described(described: Described, operation: str) -> None:
    @few()
    @given(case=strategy(described, operation, GenerationMode.POSITIVE))
    def holds(case: Case) -> None:
        # No description can tell which bytes are an X-ray.
        skipped = [positive_data_acceptance]
        case.call_and_validate(headers=described.headers, excluded_checks=skipped)
        related = described.headers | {"Content-Type": RELATED}
        case.call_and_validate(headers=related, excluded_checks=skipped)
        case.body = dicom()
        # What was not generated counts as of another schema.
        others = [*skipped, negative_data_rejection]
        case.call_and_validate(headers=related, excluded_checks=others)

    holds()
