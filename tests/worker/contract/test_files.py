"""worker.contract.files: what ml makes of a picture is within the limits."""

from ml.images import overlay, reader
from ml.preparation import phantom
from worker.contract.files import INPUTS, OUTPUTS, FileKind, OutputRule
from worker.contract.job import QUEUE_OF, JobKind

ROWS, COLUMNS = 500, 700


def test_every_kind_that_workers_do_has_inputs_and_outputs() -> None:
    assert set(INPUTS) == set(OUTPUTS) == set(QUEUE_OF)


def test_what_a_render_job_stores_a_segment_job_reads() -> None:
    assert set(INPUTS[JobKind.SEGMENT]) <= set(OUTPUTS[JobKind.RENDER])


def test_a_limit_grows_with_the_picture() -> None:
    assert OutputRule("image/png", 100, bytes_per_pixel=4).limit(10, 20) == 900


def test_the_pictures_of_both_jobs_are_small_enough() -> None:
    drawn = phantom.draw(3, "right", rows=ROWS, columns=COLUMNS)
    picture = reader.read(phantom.dicom(drawn))
    made = {
        FileKind.PIXELS: picture.canonical(),
        FileKind.PREVIEW: reader.preview(picture),
        FileKind.THUMB: reader.thumb(picture),
        FileKind.MASK: overlay.mask_png(drawn.mask),
        FileKind.OVERLAY: overlay.overlay_png(picture, drawn.mask),
    }
    rules = OUTPUTS[JobKind.RENDER] | OUTPUTS[JobKind.SEGMENT]
    for kind, data in made.items():
        assert 0 < len(data) <= rules[kind].limit(ROWS, COLUMNS), kind
