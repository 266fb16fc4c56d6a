"""Findings of docs/trial.md about files, reading and models."""

from tests.campaigns.protections.protection import edit, off

_FILES = "trial: files"
_READING = "trial: reading"
_MODELS = "trial: models"

PROTECTIONS = (
    off(
        _FILES,
        "comments of JPEG 2000 passed over before its end",
        edit(
            "xray_files/streams/jpeg_2000.py",
            "            at, kept = at + 2 + _length(data, at + 2), False\n            continue\n",
            '            raise BadFile("damaged")\n',
        ),
        "ml/images/test_decoders.py::"
        "test_jpeg_2000_with_a_comment_before_its_end_in_boxes_or_followed_by_bytes",
    ),
    off(
        _FILES,
        "the stream inside of boxes",
        edit(
            "xray_files/streams/jpeg_2000.py",
            "    if bytes(data[:8]) != BOXES:\n        return data\n",
            "    if True:\n        return data\n",
        ),
        "ml/images/test_decoders.py::"
        "test_jpeg_2000_with_a_comment_before_its_end_in_boxes_or_followed_by_bytes",
        "portal/exchange/test_deidentified_export.py::"
        "test_jpeg_2000_in_boxes_with_a_comment_and_bytes_behind_is_exported_bare",
    ),
    off(
        _FILES,
        "one frame joined of its fragments",
        edit(
            "xray_files/pixel_frame.py",
            'fragments[0] if len(fragments) == 1 else b"".join(fragments)',
            "fragments[0]",
        ),
        "ml/images/test_decoders.py::"
        "test_one_frame_in_two_fragments_is_joined_whatever_the_offset_table_states",
    ),
    off(
        _FILES,
        "bytes behind a picture's end left out",
        edit("xray_files/streams/jpeg.py", "    return data[:last]\n", "    return data\n"),
        "ml/images/test_png_jpeg.py::test_what_stands_behind_a_pictures_end_reaches_no_decoder",
    ),
    off(
        _FILES,
        "a header read as it is encoded",
        edit(
            "xray_files/header.py",
            "    header.implicit = not _is_vr(header.data, at)\n"
            "    header.little = header.implicit",
            "    header.implicit = named == kinds.IMPLICIT\n    header.little = header.implicit",
        ),
        "portal/formats/test_dicom_elements.py::"
        "test_a_header_is_read_as_it_is_written_whatever_its_transfer_syntax_states",
        "portal/intake/test_agreement.py::test_they_agree_on_files_that_name_another_encoding",
    ),
    off(
        _FILES,
        "grey told apart in RGB JPEG without a statement",
        edit(
            "ml/images/decoders.py",
            '    if header.photometric == "RGB" and start.samples == 3 '
            "and not start.colour_stated:\n",
            "    if False:\n",
        ),
        "ml/images/test_decoders.py::"
        "test_rgb_jpeg_without_a_statement_of_its_colours_is_grey_where_it_is",
    ),
    off(
        _FILES,
        "runs of RLE followed to the picture's size",
        edit(
            "xray_files/pixel_frame.py",
            "        rle.check(whole, header.rle_segments, "
            "(header.rows, header.columns), most_runs=_MOST_RUNS)\n",
        ),
        "xray_files/test_rle.py::test_another_size_than_the_runs_make_is_refused_by_both",
    ),
    off(
        _FILES,
        "an answer about what can't be exported",
        edit(
            "portal/formats/dicom.py",
            "    return native or is_cleanable(frame)\n",
            "    return True or is_cleanable(frame)\n",
        ),
        "portal/intake/test_check.py::test_what_cannot_be_exported_is_known_at_the_door",
    ),
    off(
        _READING,
        "cases to be read again where the model found something later",
        edit(
            "portal/studies/verdicts.py",
            "    if not positive:\n",
            "    if True:\n",
        ),
        "portal/studies/test_late_results.py::test_read_unaided_then_found_is_to_be_read_again",
    ),
    off(
        _READING,
        "a verdict that follows from the finding",
        edit(
            "portal/reading/findings.py",
            "    return Verdict.AGREE if same_as(result) in (None, finding) "
            "else Verdict.DISAGREE\n",
            "    return Verdict.AGREE\n",
        ),
        "portal/reading/test_findings.py::test_the_verdict_follows_from_finding_and_result",
    ),
    off(
        _READING,
        "reasons that fit the finding alone",
        edit(
            "portal/reading/reviews.py",
            "    if any(one not in fitting for one in reasons):\n",
            "    if False:\n",
        ),
        "portal/web/api/test_v1.py::test_a_reason_that_does_not_fit_the_result_is_a_conflict",
    ),
    off(
        _READING,
        "reason and size kept by a later comment",
        edit(
            "portal/reading/reviews.py",
            "    kept = own if own is not None and own.finding is finding else None\n",
            "    kept = None\n",
        ),
        "portal/reading/test_review_versions.py::test_a_later_comment_keeps_reason_and_size",
    ),
    off(
        _READING,
        "the same twice as one version",
        edit(
            "portal/reading/reviews.py",
            "    if newest is not None and _is_same(session, newest, review, seen_rows):\n",
            "    if False:\n",
        ),
        "portal/reading/test_review_versions.py::test_the_same_twice_is_one_version",
    ),
    off(
        _READING,
        "a look at which version was seen",
        edit(
            "portal/reading/reviews.py",
            '    if after is not None and after != (newest.id.hex if newest else ""):\n',
            "    if False:\n",
        ),
        "portal/web/api/test_v1.py::"
        "test_a_review_on_an_older_version_is_a_conflict_that_shows_the_newest",
    ),
    off(
        _READING,
        "a look at which state was seen",
        edit(
            "portal/reading/reviews.py",
            "    if seen is not None and seen != shown.as_seen:\n",
            "    if False:\n",
        ),
        "portal/web/api/test_v1.py::test_a_review_of_another_state_than_was_seen_is_a_conflict",
    ),
    off(
        _READING,
        "refused files for their session alone",
        edit(
            "portal/reading/refused_files.py",
            "    own = (RefusedFile.session_id == actor.session_id, "
            "RefusedFile.created > now - LASTS)\n",
            "    own = (RefusedFile.created > now - LASTS,)\n",
        ),
        "portal/reading/test_refused_files.py::"
        "test_the_session_that_sent_them_sees_them_the_newest_first",
    ),
    off(
        _READING,
        "an end of them after a day",
        edit(
            "portal/reading/refused_files.py",
            "    own = (RefusedFile.session_id == actor.session_id, "
            "RefusedFile.created > now - LASTS)\n",
            "    own = (RefusedFile.session_id == actor.session_id,)\n",
        ),
        "portal/reading/test_refused_files.py::test_a_name_is_sealed_and_gone_after_a_day",
    ),
    off(
        _MODELS,
        "a reason for the promotion of a worse model",
        edit("portal/ai_models/registry.py", "    if worse and not reason:\n", "    if False:\n"),
        "portal/ai_models/test_registry.py::"
        "test_a_worse_model_is_promoted_only_with_a_reason_which_is_kept_and_bound",
    ),
    off(
        _MODELS,
        "masks of the picture's size",
        edit(
            "portal/jobs/results/result_checks.py",
            "    return not is_png or size == picture\n",
            "    return True\n",
        ),
        "portal/jobs/test_ledger.py::test_an_outline_of_another_size_than_the_picture_is_refused",
    ),
    off(
        _MODELS,
        "predictions compared with their picture and card",
        edit(
            "portal/jobs/outcomes.py",
            "        prediction_checks.check(session, job, prediction, picture)\n",
        ),
        "portal/jobs/test_ledger.py::test_predictions_that_cannot_be_true_are_refused",
        "portal/ai_models/test_registry.py::"
        "test_a_band_that_does_not_follow_from_the_probability_is_refused",
    ),
)
