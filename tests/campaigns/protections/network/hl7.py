"""HL7: who may send, what a message may cost, and what is applied of it."""

from tests.campaigns.protections.protection import edit, off

_HL7 = "what comes by HL7"
_MERGES = "patients and orders by HL7"
_ADMISSION = "portal/hl7/admission.py"
_LISTENER = "portal/hl7/listener.py"
_FRAMING = "portal/hl7/framing.py"
_MESSAGES = "portal/hl7/messages.py"
_TAKING = "portal/hl7/taking.py"
_PATIENTS = "portal/hl7/patients.py"
_LISTENS = "portal/hl7/test_listener.py::"
_FRAMES = "portal/hl7/test_framing.py::"
_TAKES = "portal/hl7/test_taking.py::"
_CORRECTS = "portal/hl7/test_patients.py::"
_ANSWERS = f"{_TAKES}test_what_is_not_taken_has_its_answer"
_LOOKS_ALIKE = f"{_TAKES}test_an_address_a_switched_off_node_and_a_stranger_look_alike"
_PLACES = "portal/listeners/test_places.py::"

PROTECTIONS = (
    off(
        _HL7,
        "an end at once for who calls from no node's address",
        edit(_LISTENER, "        if not self._known.has(address):\n", "        if False:\n"),
        f"{_PLACES}test_a_silent_stranger_does_not_even_shake_hands_at_the_hl7_port",
    ),
    off(
        _HL7,
        "an end before anything is read from who shows another certificate",
        edit(
            _LISTENER,
            "            if not admission.may_connect(session, caller):\n",
            "            if False:\n",
        ),
        f"{_LISTENS}test_by_tls_a_sender_shows_the_certificate_that_is_stated_of_it",
    ),
    off(
        _HL7,
        "a certificate of every sender by TLS",
        edit(
            "portal/listeners/peers.py",
            "_SERVER)\n    context.minimum_version = ssl.TLSVersion.TLSv1_2\n"
            "    context.verify_mode = ssl.CERT_REQUIRED\n",
            "_SERVER)\n    context.minimum_version = ssl.TLSVersion.TLSv1_2\n"
            "    context.verify_mode = ssl.CERT_OPTIONAL\n",
        ),
        f"{_LISTENS}test_by_tls_nobody_is_read_from_without_a_certificate",
        "portal/dicom_network/test_listener.py::"
        "test_by_tls_nobody_comes_in_without_a_certificate_or_without_tls",
    ),
    off(
        _HL7,
        "the certificate that is stated of a sender",
        edit(
            _ADMISSION,
            "    return peers.lies_in(caller.address, node.networks) and peers.shows(\n"
            "        node.fingerprint, caller.certificate\n    )\n",
            "    return peers.lies_in(caller.address, node.networks)\n",
        ),
        f"{_LISTENS}test_by_tls_a_sender_shows_the_certificate_that_is_stated_of_it",
        _LOOKS_ALIKE,
    ),
    off(
        _HL7,
        "the address that is stated of a sender, at each message",
        edit(
            _ADMISSION,
            "    return peers.lies_in(caller.address, node.networks) and peers.shows(\n",
            "    return peers.shows(\n",
        ),
        _LOOKS_ALIKE,
    ),
    off(
        _HL7,
        "the refusal of a node that is switched off, at each message",
        edit(_ADMISSION, " or found.disabled_at is not None or not", " or not"),
        _LOOKS_ALIKE,
    ),
    off(
        _HL7,
        "application and facility that are stated of a sender",
        edit(
            _ADMISSION,
            "        .where(Hl7Node.application == header.application, "
            "Hl7Node.facility == header.facility)\n",
        ),
        _ANSWERS,
    ),
    off(
        _HL7,
        "places for so many connections",
        edit(_LISTENER, "        if not self.places.take(address):\n", "        if False:\n"),
        f"{_LISTENS}test_more_connections_than_the_limit_are_closed",
        f"{_PLACES}test_a_known_but_silent_system_leaves_places_to_others",
    ),
    off(
        _HL7,
        "no more than half of the places for one address",
        edit(
            "portal/listeners/places.py",
            " or self._taken[address] >= self._most_of_one:\n",
            ":\n",
        ),
        f"{_PLACES}test_one_address_has_half_of_the_places",
        f"{_PLACES}test_a_known_but_silent_system_leaves_places_to_others",
        f"{_PLACES}test_a_known_but_silent_node_leaves_places_to_others",
    ),
    off(
        _HL7,
        "the networks of before where nodes can't be read",
        edit(
            "portal/listeners/places.py",
            '            _log.warning("the nodes could not be read: %s", type(error).__name__)\n',
            '            _log.warning("the nodes could not be read: %s", type(error).__name__)\n'
            "            self._networks = ()\n",
        ),
        f"{_PLACES}test_nodes_that_cannot_be_read_are_those_of_before",
        quick=True,
    ),
    off(
        _HL7,
        "a place that is free again where no thread was left",
        edit(
            _LISTENER,
            "                self._threads.discard(thread)\n"
            "            _close(connected)\n"
            "            self.places.leave(address)\n",
            "                self._threads.discard(thread)\n            _close(connected)\n",
        ),
        "portal/listeners/test_accepting.py::"
        "test_without_a_thread_for_a_connection_its_place_is_free_again",
    ),
    off(
        _HL7,
        "no sign of life of a listener that accepts nothing",
        edit("portal/listeners/process.py", "        accepting.require(accepts)\n"),
        "portal/listeners/test_accepting.py::test_a_deaf_hl7_listener_gives_no_sign_of_life",
        "portal/listeners/test_accepting.py::test_a_deaf_dicom_listener_gives_no_sign_of_life",
    ),
    off(
        _HL7,
        "an end of listening where nothing could be accepted for a minute",
        edit(
            "portal/listeners/accepting.py",
            "        if moment - self._since >= _GIVE_UP_SECONDS:\n",
            "        if False:\n",
        ),
        "portal/listeners/test_accepting.py::test_a_deaf_hl7_listener_gives_no_sign_of_life",
        "portal/listeners/test_accepting.py::test_a_deaf_dicom_listener_gives_no_sign_of_life",
    ),
    off(
        _HL7,
        "another try where accepting has failed",
        edit(
            _LISTENER,
            "                    failures.wait(error, self._stopping)\n",
            "                    raise\n",
        ),
        "portal/listeners/test_accepting.py::test_hl7_accepts_again_after_a_failure",
    ),
    off(
        _HL7,
        "a pause before that try",
        edit("portal/listeners/accepting.py", "        stopping.wait(_PAUSE_SECONDS)\n"),
        "portal/listeners/test_accepting.py::"
        "test_dicom_accepts_again_after_a_failure_without_turning_in_circles",
    ),
    off(
        _HL7,
        "rows of refusals for a minute and address, not for each",
        edit(
            "portal/listeners/refusals.py",
            "        return moment - self._written.get(of, -_WRITTEN_EVERY) < _WRITTEN_EVERY\n",
            "        return False\n",
        ),
        "portal/listeners/test_refusals.py::test_of_one_reason_and_address_one_row_a_minute_is_due",
        f"{_TAKES}test_refusals_fill_no_log",
        "portal/dicom_network/test_listener.py::"
        "test_a_stranger_who_tries_again_and_again_fills_no_log",
    ),
    off(
        _HL7,
        "a limit of rows of refusals from many addresses",
        edit(
            "portal/listeners/refusals.py",
            "            if len(self._rows) == _MOST_ROWS "
            "and moment - self._rows[0] < _WRITTEN_EVERY:\n",
            "            if False:\n",
        ),
        "portal/listeners/test_refusals.py::"
        "test_from_many_addresses_few_rows_are_due_and_none_is_lost",
        quick=True,
    ),
    off(
        _HL7,
        "a limit of addresses that are remembered",
        edit(
            "portal/listeners/refusals.py",
            "            if len(self._written) >= _MOST_COUNTED:\n",
            "            if False:\n",
        ),
        "portal/listeners/test_refusals.py::test_what_is_kept_is_bounded",
        quick=True,
    ),
    off(
        _HL7,
        "a limit of a message's size",
        edit(_FRAMING, "        if end - 1 > self._most:\n", "        if False:\n"),
        f"{_FRAMES}test_a_message_is_bounded",
        f"{_LISTENS}test_a_message_that_is_too_large_is_rejected_and_the_connection_ended",
    ),
    off(
        _HL7,
        "a limit of a message's time",
        edit(
            _FRAMING,
            "        ends = time.monotonic() + self._frame_seconds\n",
            "        ends = time.monotonic() + self._frame_seconds + 40\n",
        ),
        f"{_LISTENS}test_who_does_not_finish_a_message_is_left",
    ),
    off(
        _HL7,
        "that time for a message in all, however its bytes drip",
        edit(
            _FRAMING,
            "            more = self._read(ends - time.monotonic())\n",
            "            more = self._read(self._frame_seconds)\n",
        ),
        f"{_FRAMES}test_who_drips_gets_no_more_time_for_it",
    ),
    off(
        _HL7,
        "an end where bytes stand outside of a frame",
        edit(_FRAMING, "        if found[:1] != START:\n", "        if False:\n"),
        f"{_FRAMES}test_what_is_no_frame_is_no_message",
        f"{_FRAMES}test_behind_a_whole_frame_nothing_but_another_may_stand",
        f"{_LISTENS}test_a_torn_frame_is_not_answered_and_nothing_of_it_is_stored",
    ),
    off(
        _HL7,
        "an end where a frame begins within another",
        edit(_FRAMING, "        if found.find(START, looked, end) >= 0:\n", "        if False:\n"),
        f"{_FRAMES}test_what_is_no_frame_is_no_message",
    ),
    off(
        _HL7,
        "an end where a frame is cut off",
        edit(
            _FRAMING,
            '                raise BrokenFrame("torn")\n',
            "                return bytes(found[1:])\n",
        ),
        f"{_FRAMES}test_what_is_no_frame_is_no_message",
        f"{_LISTENS}test_a_torn_frame_is_not_answered_and_nothing_of_it_is_stored",
    ),
    off(
        _HL7,
        "an end where a frame's end is another one",
        edit(_FRAMING, "        if found[at + 1] != END[1]:\n", "        if False:\n"),
        f"{_FRAMES}test_what_is_no_frame_is_no_message",
        f"{_LISTENS}test_a_torn_frame_is_not_answered_and_nothing_of_it_is_stored",
    ),
    off(
        _HL7,
        "a limit of a message's parts",
        edit(
            _MESSAGES,
            "    if len(segments) > _MOST_SEGMENTS "
            "or _parts(text, header.separators) > _MOST_PARTS:\n",
            "    if False:\n",
        ),
        "portal/hl7/test_messages.py::test_very_many_parts_cost_little",
        quick=True,
    ),
    off(
        _HL7,
        "a limit of a message's header",
        edit(
            _MESSAGES,
            " or len(first) > _LONGEST_HEADER or len(first) < 9:\n",
            " or len(first) < 9:\n",
        ),
        "portal/hl7/test_messages.py::test_what_has_no_header_is_rejected",
        quick=True,
    ),
    off(
        _HL7,
        "a control ID that can be repeated in an answer",
        edit(
            _MESSAGES,
            "    if not 0 < len(found.control_id) <= _LONGEST_ID or not good_id:\n",
            "    if False:\n",
        ),
        "portal/hl7/test_messages.py::test_what_has_no_header_is_rejected",
        quick=True,
    ),
    off(
        _HL7,
        "the refusal of a character set that is not the message's",
        edit(
            _MESSAGES,
            "        text = raw.decode(CHARSETS[named])\n",
            '        text = raw.decode(CHARSETS[named], "replace")\n',
        ),
        "portal/hl7/test_messages.py::test_a_wrong_character_set_has_its_reason",
        _ANSWERS,
    ),
    off(
        _HL7,
        "the refusal of what is for tests",
        edit(_TAKING, '    if header.processing != "P":\n', "    if False:\n"),
        _ANSWERS,
    ),
    off(
        _HL7,
        "a limit of a node's messages in an hour",
        edit(_TAKING, "            services.quotas.message(str(node.id), now)\n"),
        f"{_TAKES}test_beyond_its_quota_a_node_is_to_try_again_and_no_other_is",
    ),
    off(
        _HL7,
        "a note of each message, by which one that comes again is known",
        edit(
            _TAKING,
            "    session.add(\n        Hl7Message(\n            node_id=context.node.id,\n"
            "            control_key=control_key,\n            content_key=content_key,\n"
            "            created=context.now,\n        )\n    )\n",
        ),
        f"{_TAKES}test_the_same_message_again_is_answered_and_not_applied_again",
        f"{_LISTENS}test_a_sender_that_got_no_answer_sends_again_and_nothing_is_applied_twice",
    ),
    off(
        _HL7,
        "another try where the same message comes on two connections",
        edit(_TAKING, "_TRIES: Final = 4\n", "_TRIES: Final = 1\n"),
        f"{_TAKES}test_the_same_message_that_comes_meanwhile_on_another_connection_is_no_failure",
        postgres=True,
    ),
    off(
        _HL7,
        "the content compared under a known control ID",
        edit(_TAKING, "        if not same:\n", "        if False:\n"),
        f"{_TAKES}test_a_control_id_of_another_message_is_an_error_and_no_duplicate",
    ),
    off(
        _HL7,
        "the content known whatever time the header states",
        edit(
            _TAKING,
            '    content = f"{header.kind}^{header.event}\\r".encode() '
            '+ raw.partition(b"\\r")[2]\n',
            "    content = raw\n",
        ),
        f"{_TAKES}test_the_same_message_again_is_answered_and_not_applied_again",
    ),
    off(
        _HL7,
        "one transaction of a message's note and of what it changes",
        edit(
            _TAKING,
            "    session.flush()\n    taken = APPLIED",
            "    session.commit()\n    taken = APPLIED",
        ),
        f"{_TAKES}test_what_failed_is_tried_again_under_the_same_control_id",
    ),
    off(
        _HL7,
        "AA after the commit alone",
        edit(_TAKING, "    database.commit(session)\n", "    session.rollback()\n"),
        f"{_TAKES}test_the_same_message_again_is_answered_and_not_applied_again",
        f"{_LISTENS}test_the_same_message_on_several_connections_at_once_is_applied_once",
    ),
    off(
        _HL7,
        "a final answer for what is damaged here",
        edit(_TAKING, '        return NotTaken("AR", "damaged")\n', "        pass\n"),
        f"{_TAKES}test_what_is_damaged_here_has_a_final_answer_and_holds_up_no_other",
    ),
    off(
        _HL7,
        "errors logged without their text",
        edit(
            _TAKING,
            '    _log.error("a message could not be applied: %s", type(error).__name__)\n'
            '    return NotTaken("AE", "failed")\n',
            '    _log.error("a message could not be applied: %r", error)\n'
            '    return NotTaken("AE", "failed")\n',
        ),
        f"{_TAKES}test_an_error_that_nobody_expected_is_named_by_its_kind_alone",
    ),
    off(
        _HL7,
        "a stop that waits for what is being taken",
        edit(
            _LISTENER,
            "            thread.join(process.GRACE_SECONDS)\n\n\ndef _send",
            "            pass\n\n\ndef _send",
        ),
        "portal/hl7/test_stopping.py::test_a_stop_returns_after_what_is_being_taken",
    ),
    off(
        _HL7,
        "nothing removed by a clock that has jumped",
        edit(
            _LISTENER,
            "        if rounds % _TIDY_EVERY == 0 and clock.is_right(session, services.clock()):\n",
            "        if rounds % _TIDY_EVERY == 0:\n",
        ),
        f"{_LISTENS}test_a_clock_years_ahead_removes_nothing",
    ),
    off(
        _HL7,
        "nodes that administrators alone add",
        edit(
            "portal/listeners/nodes.py",
            "    require_manager(actor)\n    added = kind.table(",
            "    added = kind.table(",
        ),
        "portal/listeners/test_nodes.py::test_only_who_manages_people_may_let_somebody_in",
    ),
    off(
        _HL7,
        "TLS at every address that is no loopback",
        edit(
            "portal/settings/network/hl7.py",
            "        if found is None and not self.tls_files and not self.plain "
            "and not _is_loopback(self.host):\n",
            "        if False:\n",
        ),
        "portal/settings/network/test_hl7.py::test_what_does_not_go_together_is_a_sentence",
    ),
    off(
        _MERGES,
        "the node's own team, of a patient's corrected data",
        edit(
            _PATIENTS,
            "        Study.team_id == context.node.team_id,\n        Study.patient_key.in_(patient",
            "        Study.patient_key.in_(patient",
        ),
        f"{_CORRECTS}test_the_patients_exams_show_what_was_corrected",
    ),
    off(
        _MERGES,
        "the header's own values, kept beside corrected ones",
        edit(
            _PATIENTS,
            '    phi.setdefault(f"{sealed_fields.HEADER}{name}", phi.get(name, ""))\n',
        ),
        f"{_CORRECTS}test_the_patients_exams_show_what_was_corrected",
    ),
    off(
        _MERGES,
        "an older message that changes nothing",
        edit(_PATIENTS, '    if stated_at < phi.get("stated_at", ""):\n', "    if False:\n"),
        f"{_CORRECTS}test_an_older_message_changes_nothing",
    ),
    off(
        _MERGES,
        "a limit of exams that one ID changes",
        edit(_PATIENTS, "    if len(studies) > _MOST_EXAMS:\n", "    if False:\n"),
        f"{_CORRECTS}test_an_id_that_stands_for_many_patients_changes_none",
    ),
    off(
        _MERGES,
        "the authority whose IDs count",
        edit(
            "portal/hl7/context.py",
            "        fits = issuer == node.authority if node.authority else kind in _OF_PATIENTS\n",
            "        fits = True\n",
        ),
        f"{_CORRECTS}test_whose_id_counts_is_stated_of_the_node",
    ),
    off(
        _MERGES,
        "the node's own team, of merges",
        edit(
            _PATIENTS,
            "            Study.team_id == team_id,\n            Study.patient_key.in_(keys),\n",
            "            Study.patient_key.in_(keys),\n",
        ),
        f"{_CORRECTS}test_a_merge_of_another_team_is_none_here",
    ),
    off(
        _MERGES,
        "a limit of a message's merges",
        edit(_PATIENTS, "    if len(pairs) > _MOST_MERGES:\n", "    if False:\n"),
        f"{_CORRECTS}test_a_message_merges_at_most_a_hundred_pairs",
    ),
    off(
        _MERGES,
        "the refusal of an ID that is merged with itself",
        edit(_PATIENTS, "        if one.number == other.number:\n", "        if False:\n"),
        _ANSWERS,
    ),
    off(
        _MERGES,
        "a merge that can't be read, which keeps back no other",
        edit(
            _PATIENTS,
            "            if not isinstance(error, NotReadable) "
            "and not database.is_damage(error):\n                raise\n"
            '            _log.error("HL7 merge',
            '            if True:\n                raise\n            _log.error("HL7 merge',
        ),
        f"{_CORRECTS}test_a_merge_whose_exam_is_on_a_damaged_page_keeps_back_no_other",
    ),
    off(
        _MERGES,
        "the patient compared whose exam an order is about",
        edit(
            "portal/hl7/orders.py",
            "    if not all(context_module.is_patient_of(session, exam, patient) "
            "for exam in exams):\n",
            "    if False:\n",
        ),
        "portal/hl7/test_orders.py::test_an_order_of_another_patient_is_refused_or_not_shown",
    ),
    off(
        _MERGES,
        "the patient compared whose exam a report is about",
        edit(
            "portal/hl7/reports.py",
            "    if not all(context_module.is_patient_of(session, exam, patient) "
            "for exam in exams):\n",
            "    if False:\n",
        ),
        "portal/hl7/test_reports.py::test_a_report_of_another_patient_is_refused",
    ),
    off(
        _MERGES,
        "the refusal of a report that is not final",
        edit(
            "portal/hl7/reports.py",
            "    state = _STATES.get(request.text(25, longest=8).upper())\n",
            "    state = _STATES.get(request.text(25, longest=8).upper(), "
            "HospitalReportState.FINAL)\n",
        ),
        "portal/hl7/test_reports.py::test_what_is_not_final_is_not_stored",
        _ANSWERS,
    ),
    off(
        _MERGES,
        "a limit of a report's length",
        edit("portal/hl7/reports.py", "    if len(text) > _LONGEST:\n", "    if False:\n"),
        "portal/hl7/test_reports.py::test_a_report_is_bounded",
    ),
)
