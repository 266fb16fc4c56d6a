"""Findings of docs/trial.md about numbers."""

from tests.campaigns.protections.protection import edit, off

_NUMBERS = "trial: numbers"

PROTECTIONS = (
    off(
        _NUMBERS,
        "a spacing left out by the size of the field",
        edit(
            "ml/images/field_size.py",
            "    if spacing is None or is_plausible(spacing, rows, columns):\n",
            "    if True:\n",
        ),
        "ml/images/test_field_size.py::test_the_field_decides_whether_a_spacing_is_kept",
    ),
    off(
        _NUMBERS,
        "both sides of the field",
        edit("ml/images/field_size.py", "    return all(FIELD_MM[0]", "    return any(FIELD_MM[0]"),
        "ml/images/test_field_size.py::test_both_sides_of_the_field_count",
    ),
    off(
        _NUMBERS,
        "lungs of an adult's size",
        edit(
            "ml/inference/lung_size.py",
            "        size <= limits[1] and (size >= limits[0] or cut)\n",
            "        size <= limits[1] or cut or True\n",
        ),
        "ml/inference/test_lung_size.py::test_lungs_have_the_size_of_an_adults",
    ),
    off(
        _NUMBERS,
        "an index only beside a lung that was found",
        edit(
            "ml/inference/size_indices.py",
            "round(float(air.sum() / cavity.sum()), 4) if side.border.found else None",
            "round(float(air.sum() / cavity.sum()), 4)",
        ),
        "ml/inference/test_size_indices.py::"
        "test_where_the_lung_beside_the_air_was_not_found_nothing_is_compared_with_it",
    ),
    off(
        _NUMBERS,
        "an even collapse for Light's index",
        edit("ml/inference/size_indices.py", "EVEN = 1.75\n", "EVEN = 1e9\n"),
        "ml/inference/test_size_indices.py::test_light_needs_an_even_collapse",
    ),
    off(
        _NUMBERS,
        "pixels made square",
        edit(
            "ml/images/square_pixels.py",
            "    if abs(ratio - 1) <= TOLERANCE or not 1 / MOST_ASPECT <= ratio <= MOST_ASPECT:\n",
            "    if True:\n",
        ),
        "ml/images/test_square_pixels.py::test_a_picture_becomes_square_by_whatever_states_it",
    ),
    off(
        _NUMBERS,
        "tables of 8 bits, one entry in a byte",
        edit(
            "xray_files/lookup_table.py",
            "    if bits <= 8 and len(raw) == count + count % 2:\n",
            "    if False:\n",
        ),
        "xray_files/test_lookup_table.py::test_entries_of_eight_bits_may_stand_one_in_a_byte",
        "ml/images/test_grayscale.py::"
        "test_tables_of_eight_bits_packed_two_in_a_word_are_the_same_curve",
    ),
    off(
        _NUMBERS,
        "tables that begin at a negative value",
        edit(
            "xray_files/lookup_table.py",
            "    return max(possible, key=covered)\n",
            "    return unsigned\n",
        ),
        "xray_files/test_lookup_table.py::test_the_first_value_is_taken_as_the_inputs_need_it",
        "ml/images/test_grayscale.py::test_a_table_may_begin_at_a_negative_value",
    ),
    off(
        _NUMBERS,
        "display shutters",
        edit(
            "ml/images/shutter.py",
            "    return within if LEAST_SHOWN <= share < 1 else ()\n",
            "    return within[:0] if share else ()\n",
        ),
        "ml/images/test_shutter.py::test_what_is_outside_is_left_out_everywhere",
    ),
    off(
        _NUMBERS,
        "dates with points",
        edit("xray_files/dates.py", "([.\\-/]?)", "([\\-/]?)"),
        "portal/intake/test_check.py::test_dates_with_points_make_a_child_a_child",
    ),
    off(
        _NUMBERS,
        "a lateral view by the orientation of its rows",
        edit(
            "xray_files/view.py",
            'any(one[0] in "AP" for one in directions)',
            "not directions",
        ),
        "portal/intake/test_check.py::test_a_row_that_runs_to_the_front_is_a_lateral_view",
        "ml/images/test_dicom_tags.py::test_views",
    ),
    off(
        _NUMBERS,
        "the decoder's messages of missing bytes",
        edit(
            "ml/images/decoders.py",
            "    if messages.is_damage(stream) or has_gap:\n",
            "    if has_gap:\n",
        ),
        "ml/images/test_decoders.py::"
        "test_a_jpeg_with_missing_bytes_is_damaged_although_its_end_is_there",
    ),
    off(
        _NUMBERS,
        "the search for a step behind a gap",
        edit(
            "ml/images/scan_gap.py",
            "    return ratio >= _LEAST_RATIO\n",
            "    return ratio >= 1e9\n",
        ),
        "ml/images/test_scan_gap.py::"
        "test_a_jpeg_that_is_brighter_or_darker_behind_a_gap_is_refused",
    ),
    off(
        _NUMBERS,
        "islands left out of outlines",
        edit("ml/inference/outline.py", "    if least <= 1:\n", "    if least:\n"),
        "ml/inference/test_outline.py::test_a_region_below_the_floor_is_an_island",
        "ml/inference/test_predict.py::test_islands_are_not_outlined_as_findings",
    ),
    off(
        _NUMBERS,
        "the age from which under-18s are analysed",
        edit(
            "ml/quality/gate.py",
            '"The patient is under 18; the model was made for adults.", age < age_min',
            '"The patient is under 18; the model was made for adults.", age < 0',
        ),
        "ml/inference/test_predict.py::test_under_18s_get_a_result_from_the_age_that_is_allowed",
    ),
    off(
        _NUMBERS,
        "that age by the picture's own team",
        edit(
            "portal/jobs/claims.py",
            "    return ADULT_YEARS if chosen is None else chosen\n",
            "    return ADULT_YEARS if chosen is None else ADULT_YEARS\n",
        ),
        "portal/jobs/test_ledger.py::test_a_claim_has_the_age_of_the_pictures_own_team",
    ),
    off(
        _NUMBERS,
        "the mark of an under-18's result",
        edit(
            "portal/studies/status.py",
            "        under_18=stored_results.is_of_under_18(prediction),\n",
            "        under_18=False,\n",
        ),
        "portal/web/clinic/test_under_18.py::"
        "test_a_result_of_an_under_18_is_marked_in_lists_case_export_and_api",
    ),
)
