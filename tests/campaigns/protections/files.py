"""What a sent file may cost, and that whatever it holds leads to a reason."""

from tests.campaigns.protections.protection import edit, off

_COST = "files that cost much"
_REASONS = "a reason for each file"

PROTECTIONS = (
    off(
        _COST,
        "a bound of the bytes that are converted of an element",
        edit(
            "xray_files/header.py",
            "    return data[found.start : found.start + min(found.length, bound.most_bytes)]\n",
            "    return data[found.start : found.start + found.length]\n",
        ),
        "portal/formats/test_dicom_elements.py::"
        "test_a_header_that_costs_much_to_convert_costs_little",
    ),
    off(
        _COST,
        "a bound of the values of an element",
        edit("xray_files/header.py", "        raw = _cut(raw, bound.values)\n", "        pass\n"),
        "portal/formats/test_dicom_elements.py::test_the_first_values_of_many_are_read",
        quick=True,
    ),
    off(
        _COST,
        "elements passed over unread that are not listed",
        edit(
            "xray_files/header.py",
            "        end = steps.end(found, header.little)\n        if found.tag in listed",
            "        end = steps.end(found, header.little)\n"
            "        _ = bytes(bytearray(header.data[found.start : end]))\n"
            "        if found.tag in listed",
        ),
        "portal/formats/test_dicom_elements.py::test_what_is_not_listed_is_passed_over_unread",
        quick=True,
    ),
    off(
        _COST,
        "a limit of bytes before the pixels",
        edit(
            "xray_files/element_stream.py",
            "        if at > self.most_bytes:\n",
            "        if False:\n",
        ),
        "portal/formats/test_dicom_elements.py::"
        "test_a_large_header_is_read_up_to_the_setting_and_named_beyond_it",
    ),
    off(
        _COST,
        "a limit of elements",
        edit(
            "xray_files/element_stream.py",
            "        if self.taken > _MOST_STEPS:\n",
            "        if False:\n",
        ),
        "portal/intake/test_check.py::test_a_header_of_very_many_elements_is_not_read_to_its_end",
        "portal/intake/test_check.py::test_a_sequence_of_very_many_parts_is_not_read_to_its_end",
    ),
    off(
        _COST,
        "a limit of depth",
        edit(
            "xray_files/element_stream.py",
            "            if len(opened) > _DEEPEST:\n",
            "            if False:\n",
        ),
        "portal/intake/test_check.py::test_sequences_in_sequences_end_soon",
    ),
    off(
        _COST,
        "a limit of processor time for a header",
        edit(
            "portal/formats/header_process.py",
            "    signal.setitimer(signal.ITIMER_PROF, seconds)\n",
        ),
        "portal/formats/test_header_pool.py::test_a_file_that_computes_on_and_on_is_not_waited_for",
    ),
    off(
        _COST,
        "a limit of memory for a header",
        edit(
            "portal/formats/header_process.py",
            "    resource.setrlimit(resource.RLIMIT_DATA, (used + size + memory, hard))\n",
        ),
        "portal/formats/test_header_pool.py::"
        "test_a_file_that_takes_too_much_is_refused_and_the_next_is_read",
    ),
    off(
        _COST,
        "headers read in other processes than the portal's",
        edit(
            "portal/intake/check.py",
            "        return header_pool.shared().read(filename, data, limits, work)\n",
            "        return upload_header.read(filename, data, limits)\n",
        ),
        "portal/intake/test_check.py::test_no_header_is_read_in_the_portals_own_process",
    ),
    off(
        _COST,
        "processes that read headers before the first picture comes",
        edit("portal/server/gunicorn_settings.py", "    header_pool.shared()\n"),
        "portal/formats/test_header_pool.py::test_a_web_process_has_them_before_the_first_picture",
        quick=True,
    ),
    off(
        _COST,
        "a limit of what a deflated file unfolds to",
        edit(
            "xray_files/deflate.py",
            "    most = min(MOST_BYTES, RATIO * len(packed))\n",
            "    most = 2**40\n",
        ),
        "portal/formats/test_dicom_elements.py::test_a_deflated_file_is_inflated_within_limits",
    ),
    off(
        _COST,
        "a limit of fragments of compressed pixels",
        edit(
            "xray_files/pixel_frame.py",
            "_MOST_FRAGMENTS: Final = 10_000\n",
            "_MOST_FRAGMENTS: Final = 10**9\n",
        ),
        "portal/intake/test_check.py::"
        "test_a_small_zip_of_very_many_fragments_is_refused_piece_by_piece",
    ),
    off(
        _COST,
        "a ratio for each file of a ZIP",
        edit(
            "portal/formats/zip_archive.py",
            "    if info.file_size > limits.ratio * info.compress_size:\n",
            "    if False:\n",
        ),
        "portal/formats/test_zip_archive.py::"
        "test_a_small_zip_unfolds_to_no_more_than_a_hundred_times_itself",
        quick=True,
    ),
    off(
        _COST,
        "a limit of the whole work on a ZIP",
        edit(
            "portal/intake/zip_submission.py",
            "            if self.stopped is None and self.work.seconds > self.most_seconds:\n",
            "            if False:\n",
        ),
        "portal/formats/test_zip_archive.py::"
        "test_a_zip_that_takes_too_long_is_read_in_part_and_the_rest_named",
        "portal/intake/test_known_pictures.py::test_comparing_pixels_counts_as_work_of_the_zip",
    ),
    off(
        _COST,
        "a limit of what a ZIP unfolds to",
        edit(
            "portal/formats/zip_archive.py",
            "    if sum(info.file_size for info in infos) > limits.unfolds * limits.max_bytes:\n",
            "    if False:\n",
        ),
        "portal/formats/test_zip_archive.py::"
        "test_a_zip_that_cannot_be_taken_is_refused_with_a_reason",
        quick=True,
    ),
    off(
        _COST,
        "quotas",
        edit(
            "portal/quotas.py",
            "        if first:\n            raise QuotaReached(buckets[first - 1].quota, over)\n",
        ),
        "portal/test_quotas.py::test_a_person_may_use_the_quota_at_once_and_then_as_it_empties",
        "portal/test_quotas.py::test_pages_and_programs_are_answered_with_how_long_to_wait",
    ),
    off(
        _COST,
        "quotas of an address",
        edit(
            "portal/quotas.py",
            '((f"person {person}", 1), (f"at {origin(address)}", self._addresses))',
            '((f"person {person}", 1),)',
        ),
        "portal/test_quotas.py::test_an_address_may_use_several_times_as_much",
        quick=True,
    ),
    off(
        _REASONS,
        "a length for elements whose VR is none",
        edit(
            "xray_files/element_stream.py",
            "        return self._of_odd_vr(tag, at, order)\n",
            "        raise NotImplementedError(vr)\n",
        ),
        "portal/formats/test_dicom_elements.py::test_a_wrong_vr_in_any_element_is_no_error",
        "portal/formats/test_dicom_elements.py::test_a_private_element_of_an_odd_vr_is_passed_over",
    ),
    off(
        _REASONS,
        "a reason for whatever reading a header raises",
        edit(
            "portal/formats/header_process.py",
            '        return {"failed": type(error).__name__}, b""\n',
            "        raise\n",
        ),
        "portal/formats/test_header_pool.py::"
        "test_what_a_reader_should_not_do_is_a_reason_without_its_text",
    ),
    off(
        _REASONS,
        "another try where a process was ended from outside",
        edit("portal/formats/header_pool.py", "_TRIES: Final = 2\n", "_TRIES: Final = 1\n"),
        "portal/formats/test_header_pool.py::test_one_that_is_killed_while_it_reads_costs_no_file",
        quick=True,
    ),
    off(
        _REASONS,
        "a check that a file is cut off",
        edit(
            "xray_files/element_stream.py",
            "        if length == UNDEFINED or start + length > len(self.data):\n",
            "        if length == UNDEFINED:\n",
        ),
        "portal/intake/test_check.py::"
        "test_an_element_that_is_longer_than_its_file_is_one_that_is_cut_off",
    ),
    off(
        _REASONS,
        "a name for a file of a ZIP that has none",
        edit(
            "portal/formats/zip_archive.py",
            '    return entry.filename.endswith("/") and entry.file_size == 0\n',
            "    return entry.is_dir()\n",
        ),
        "portal/formats/test_zip_archive.py::"
        "test_a_member_without_a_name_is_read_and_named_by_its_number",
        quick=True,
    ),
    off(
        _REASONS,
        "the files of a ZIP behind one that is refused",
        edit(
            "portal/intake/zip_submission.py",
            "        except (Refused, Conflict) as refused:\n"
            "            return _refused(name, refused)\n",
        ),
        "portal/formats/test_zip_archive.py::test_good_bad_good_the_third_is_received",
    ),
    off(
        _REASONS,
        "the files of a ZIP behind one by which something breaks",
        edit(
            "portal/intake/zip_submission.py",
            "            with suppress(Exception):\n"
            "                self.session.rollback()\n"
            '            return _refused(name, refuse("not_stored"))\n',
            "            raise\n",
        ),
        "portal/formats/test_zip_archive.py::test_a_file_by_which_something_breaks_costs_no_other",
    ),
    off(
        _REASONS,
        "a reason for a value that no column can hold",
        edit(
            "portal/intake/zip_submission.py",
            "        except DataError:  # a text or number that no column can hold\n"
            "            self.session.rollback()\n"
            '            return _refused(name, refuse("unfit"))\n',
        ),
        "portal/formats/test_zip_archive.py::test_a_file_by_which_something_breaks_costs_no_other",
    ),
    off(
        _REASONS,
        "the file removed of a transaction that failed",
        edit(
            "portal/intake/submission.py",
            "        session.rollback()\n        vault.destroy(blob.name)\n        raise\n",
            "        session.rollback()\n        raise\n",
        ),
        "portal/intake/test_submission.py::test_a_transaction_that_fails_takes_its_file_with_it",
    ),
)
