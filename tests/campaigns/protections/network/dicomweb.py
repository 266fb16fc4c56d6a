"""DICOMweb: what a request may cost, and what it may store."""

from tests.campaigns.protections.protection import edit, off

_STORING = "STOW-RS"
_READING = "QIDO-RS and WADO-RS"
_STORED = "portal/web/dicomweb/test_storing.py::"

PROTECTIONS = (
    off(
        _STORING,
        "a limit of the whole work on a request",
        edit("portal/dicom_network/parts.py", " or work.seconds > seconds):\n", "):\n"),
        f"{_STORED}test_the_work_on_a_request_is_bounded_and_the_rest_is_to_be_sent_again",
    ),
    off(
        _STORING,
        "an end of the search for boundaries",
        edit(
            "portal/web/dicomweb/body_parts.py",
            "        if time.thread_time() - self._began > self._left:\n",
            "        if False:\n",
        ),
        "portal/web/dicomweb/test_body_parts.py::"
        "test_the_search_for_boundaries_ends_and_leaves_what_follows_to_be_sent_again",
        f"{_STORED}test_a_body_of_what_looks_like_boundaries_is_not_searched_to_its_end",
    ),
    off(
        _STORING,
        "a quota of instances, of refused ones too",
        edit(
            "portal/dicom_network/parts.py",
            "            stopped = storing.over_quota(services, actor, 0)\n",
            "            pass\n",
        ),
        f"{_STORED}test_what_is_refused_counts_as_well_and_behind_the_quota_no_header_is_read",
        f"{_STORED}test_the_quota_counts_each_instance",
    ),
    off(
        _STORING,
        "headers left unread behind a limit",
        edit(
            "portal/dicom_network/parts.py",
            "            outcomes.append(Outcome(stopped))\n",
            "            _read(services, part, work)\n"
            "            outcomes.append(Outcome(stopped))\n",
        ),
        f"{_STORED}test_what_is_refused_counts_as_well_and_behind_the_quota_no_header_is_read",
    ),
    off(
        _STORING,
        "a stored picture read once for one request",
        edit(
            "portal/dicom_network/parts.py",
            "storing.store(services, session, sender, given, work)",
            "storing.store(services, session, sender, given)",
        ),
        f"{_STORED}test_a_stored_picture_is_read_once_for_all_that_come_under_its_uid",
    ),
    off(
        _STORING,
        "the study that the address names",
        edit(
            "portal/dicom_network/parts.py",
            "    if why is None and study_uid and header.study_uid != study_uid:\n",
            "    if False:\n",
        ),
        f"{_STORED}test_a_study_that_is_named_takes_its_own_instances_alone",
    ),
    off(
        _STORING,
        "a scope of its own",
        edit(
            "portal/web/dicomweb/storing.py",
            'SCOPE: Final = "dicomweb:write"\n',
            'SCOPE: Final = "dicomweb:read"\n',
        ),
        f"{_STORED}test_it_takes_its_own_scope_which_opens_nothing_else",
    ),
    off(
        _READING,
        "a count of what slow readers hold",
        edit("portal/server/sending.py", "    if not body.holds:\n", "    if True:\n"),
        "portal/server/test_sending.py::"
        "test_slow_readers_of_files_give_way_and_those_of_events_do_not",
        quick=True,
    ),
    off(
        _READING,
        "a limit of time for a search",
        edit(
            "portal/dicomweb/search.py",
            "        if time.monotonic() > self.ends:\n",
            "        if False:\n",
        ),
        "portal/dicomweb/test_search.py::test_a_search_whose_headers_take_long_ends_with_a_warning",
        "portal/dicomweb/test_search.py::test_a_search_without_headers_has_an_end_too",
    ),
)
