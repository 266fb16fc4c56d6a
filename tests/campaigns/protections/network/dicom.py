"""DICOM: who may associate and what data sets may cost; what is sent, and its proof."""

from tests.campaigns.protections.protection import edit, off

_LISTENER = "the DICOM listener"
_SENDER = "what is sent by DICOM"
_SERVER = "portal/dicom_network/server.py"
_ADMISSION = "portal/dicom_network/admission.py"
_ASSOCIATION = "portal/dicom_network/association.py"
_SENDING = "portal/dicom_network/sending/"
_QUEUE = "portal/sends/queue.py"
_LISTENS = "portal/dicom_network/test_listener.py::"
_REFUSED = f"{_LISTENS}test_who_is_not_known_is_refused_as_the_standard_has_it"
_TOGETHER = f"{_LISTENS}test_data_sets_together_have_so_much_memory_and_more_is_dropped"
_SENDS = "portal/dicom_network/sending/"
_RETRIEVES = "portal/dicom_network/retrieving/test_attempt.py::"
_TRANSMITS = f"{_SENDS}test_transmission.py::"
_PREPARES = f"{_SENDS}test_preparation.py::"
_PROVES = f"{_SENDS}test_proofs.py::"
_LEDGER = f"{_SENDS}test_ledger.py::"

PROTECTIONS = (
    off(
        _LISTENER,
        "an end at once for who calls from no node's address",
        edit(_SERVER, "        if not self._known.has(address):\n", "        if False:\n"),
        "portal/listeners/test_places.py::test_a_silent_stranger_holds_no_place_at_the_dicom_port",
    ),
    off(
        _LISTENER,
        "places for so many connections, half of them for one address",
        edit(_SERVER, "        if not self.places.take(address):\n", "        if False:\n"),
        "portal/listeners/test_places.py::test_a_known_but_silent_node_leaves_places_to_others",
    ),
    off(
        _LISTENER,
        "a place that is free again where no thread was left",
        edit(
            _SERVER,
            "            self.places.leave(str(client_address[0]))\n            raise\n",
            "            raise\n",
        ),
        "portal/listeners/test_accepting.py::"
        "test_without_a_thread_for_a_connection_its_place_is_free_again",
    ),
    off(
        _LISTENER,
        "nothing removed by a clock that has jumped",
        edit(
            "portal/dicom_network/listener.py",
            "        if rounds % _TIDY_EVERY == 0 and clock.is_right(session, services.clock()):\n",
            "        if rounds % _TIDY_EVERY == 0:\n",
        ),
        f"{_LISTENS}test_a_clock_years_ahead_removes_no_refusal",
    ),
    off(
        _LISTENER,
        "a limit of associations",
        edit(
            "portal/dicom_network/listener.py",
            "            if isinstance(found, DicomNode) and self._is_full():\n",
            "            if False:\n",
        ),
        f"{_LISTENS}test_more_associations_than_allowed_are_refused_for_now",
    ),
    off(
        _LISTENER,
        "our own AE title, which a caller has to name",
        edit(_ADMISSION, "    if caller.called != own_title:\n", "    if False:\n"),
        _REFUSED,
    ),
    off(
        _LISTENER,
        "the refusal of a node that is switched off",
        edit(_ADMISSION, "    if found.disabled_at is not None:\n", "    if False:\n"),
        _REFUSED,
    ),
    off(
        _LISTENER,
        "the refusal of a node that may not send",
        edit(
            _ADMISSION,
            "    if not found.sends and not found.receives "
            "and not sources.are_moved_by(session, found):\n",
            "    if False:\n",
        ),
        _REFUSED,
    ),
    off(
        _LISTENER,
        "a look at each data set whether its node may still send",
        edit(
            "portal/dicom_network/arrivals.py",
            "            if node is None or node.disabled_at is not None:\n",
            "            if node is None:\n",
        ),
        f"{_LISTENS}test_a_node_that_is_switched_off_meanwhile_stores_nothing_more",
    ),
    off(
        _LISTENER,
        "the refusal of data sets of who does not send, but for those that were asked for",
        edit(
            "portal/dicom_network/arrivals.py",
            "            if asked is None and (is_answer or not node.sends):\n",
            "            if False:\n",
        ),
        "portal/dicom_network/test_arrivals.py::"
        "test_a_node_that_does_not_send_stores_nothing_that_was_not_asked_for",
        f"{_RETRIEVES}test_what_was_not_asked_for_is_refused",
    ),
    off(
        _LISTENER,
        "a limit of all data sets together",
        edit(
            "portal/dicom_network/memory.py",
            "            if size > self._free:\n",
            "            if False:\n",
        ),
        _TOGETHER,
    ),
    off(
        _LISTENER,
        "memory that is free again after an association",
        edit(
            "portal/dicom_network/memory.py",
            "            self._data_sets.give_back(sum(self._sizes))\n",
        ),
        _TOGETHER,
    ),
    off(
        _LISTENER,
        "memory that is free again after an answer",
        edit(
            _ASSOCIATION,
            "            if isinstance(msg, C_STORE):\n                self.held.answered()\n",
            "            pass\n",
        ),
        f"{_LISTENS}test_what_was_answered_holds_no_memory_any_more",
    ),
    off(
        _LISTENER,
        "a limit of a message's time in all",
        edit(
            _ASSOCIATION, "        if not part or self._is_too_slow():\n", "        if not part:\n"
        ),
        f"{_LISTENS}test_a_data_set_that_comes_byte_by_byte_ends_in_time",
    ),
    off(
        _LISTENER,
        "a limit of the length of one part",
        edit(_ASSOCIATION, "        if nr_bytes > self._longest:\n", "        if False:\n"),
        f"{_LISTENS}test_an_overlong_part_ends_its_connection_at_once",
    ),
    off(
        _LISTENER,
        "the end of an association alone whose command is none",
        edit(
            _ASSOCIATION,
            '            _log.info("a message could not be read: %s", type(error).__name__)\n'
            "            return False\n",
            '            _log.info("a message could not be read: %s", type(error).__name__)\n'
            "            return True\n",
        ),
        f"{_LISTENS}test_a_command_that_is_none_ends_its_association_alone",
    ),
    off(
        _LISTENER,
        "the library's lines kept out of the log, by both of its settings",
        (
            edit(
                _ASSOCIATION,
                "        logger.setLevel(logging.CRITICAL + 1)\n        logger.propagate = False\n",
                "        logger.setLevel(logging.DEBUG)\n",
            ),
            edit(_ASSOCIATION, '    _config.LOG_HANDLER_LEVEL = "none"\n'),
        ),
        f"{_LISTENS}test_nothing_of_a_patient_is_logged_or_lies_on_the_disk",
    ),
    off(
        _LISTENER,
        "room that stays free on the disk",
        edit(
            "portal/dicom_network/storing.py",
            "    return free - size < settings.dicom_free_mb * 1024 * 1024\n",
            "    return False\n",
        ),
        f"{_LISTENS}test_below_the_watermark_of_the_disk_nothing_is_taken",
    ),
    off(
        _LISTENER,
        "a quota of a node's uploads",
        edit(
            "portal/dicom_network/storing.py",
            "        if over is not None:\n",
            "        if False:\n",
        ),
        f"{_LISTENS}test_the_quota_of_uploads_holds_for_a_node_too",
    ),
    off(
        _LISTENER,
        "the node's own team, where it asks what is stored",
        edit(
            "portal/dicom_network/commitment.py",
            "            Instance.team_id == node.team_id,\n",
        ),
        "portal/dicom_network/test_commitment.py::"
        "test_what_another_team_has_or_what_lost_its_file_does_not_count",
    ),
    off(
        _LISTENER,
        "a look for the file of what is called stored",
        edit(
            "portal/dicom_network/commitment.py",
            "            is_there = vault.has(name)\n",
            "            is_there = True\n",
        ),
        "portal/dicom_network/test_commitment.py::"
        "test_what_another_team_has_or_what_lost_its_file_does_not_count",
    ),
    off(
        _SENDER,
        "a proof before an object is called stored",
        edit(
            f"{_SENDING}ledger.py",
            "    elif SentState.TAKEN in states:\n",
            "    elif False:\n",
        ),
        f"{_TRANSMITS}test_a_report_on_a_new_association_reaches_the_ledger",
        f"{_TRANSMITS}test_a_pacs_that_never_commits_is_asked_by_c_find",
    ),
    off(
        _SENDER,
        "a word for what was sent without proof",
        edit(
            f"{_SENDING}ledger.py",
            "    elif SentState.UNPROVEN in states:\n",
            "    elif False:\n",
        ),
        f"{_TRANSMITS}test_without_commitment_and_query_it_is_sent_without_proof",
    ),
    off(
        _SENDER,
        "another attempt for what was taken and is not there",
        edit(
            f"{_SENDING}transmission.py",
            "            entry.state, entry.code, entry.changed = "
            'SentState.WAITING, "not_found", now\n',
            "            ledger.prove(entry, SendProof.FOUND, now)\n",
        ),
        f"{_TRANSMITS}test_what_is_taken_and_not_stored_is_sent_again_and_fails_in_the_end",
    ),
    off(
        _SENDER,
        "another attempt for what a node has not committed",
        edit(
            f"{_SENDING}proofs.py",
            "            _failed(one, failed[one.sop_key], now)\n",
            "            ledger.prove(one, SendProof.COMMITMENT, now)\n",
        ),
        f"{_PROVES}test_what_it_does_not_have_is_sent_again_with_its_reason",
        f"{_PROVES}test_what_a_report_names_both_ways_counts_as_failed",
    ),
    off(
        _SENDER,
        "what a report names both ways, as failed",
        edit(f"{_SENDING}proofs.py", " if uid} - failed.keys()\n", " if uid}\n"),
        f"{_PROVES}test_what_a_report_names_both_ways_counts_as_failed",
    ),
    off(
        _SENDER,
        "reports of a node about its own objects alone",
        edit(f"{_SENDING}proofs.py", ", DicomSend.node_id == node_id)\n", ")\n"),
        f"{_PROVES}test_another_nodes_report_or_one_of_another_transaction_proves_nothing",
    ),
    off(
        _SENDER,
        "reports about their own transaction alone",
        edit(
            f"{_SENDING}proofs.py",
            "        .where(DicomSend.commitment_id == report.commitment_id, ",
            "        .where(",
        ),
        f"{_PROVES}test_another_nodes_report_or_one_of_another_transaction_proves_nothing",
    ),
    off(
        _SENDER,
        "one process for a send until its claim lapses",
        edit(
            _QUEUE,
            "            or_(table.claimed_until.is_(None), "
            "table.claimed_until <= DatabaseTime()),\n",
        ),
        f"{_LEDGER}test_a_send_is_one_process_until_its_claim_lapses",
    ),
    off(
        _SENDER,
        "the refusal of what a process writes after its claim",
        edit(_QUEUE, " or row.claimed_until != claimed.until or row", " or row"),
        f"{_LEDGER}test_a_send_is_one_process_until_its_claim_lapses",
    ),
    off(
        _SENDER,
        "nothing for a node that is off or may not receive",
        edit(
            f"{_SENDING}ledger.py",
            "    (DicomNode.disabled_at.is_(None), DicomNode.receives.is_(True), ",
            "    (DicomNode.id.is_not(None), ",
        ),
        f"{_LEDGER}test_nothing_is_due_for_a_node_that_is_off_or_may_not_receive",
    ),
    off(
        _SENDER,
        "the node's own team",
        edit(f"{_SENDING}triggers.py", "Study.team_id == team_id, "),
        f"{_PREPARES}test_what_happened_in_another_team_is_not_sent",
    ),
    off(
        _SENDER,
        "nothing of before a node was chosen",
        edit(f"{_SENDING}triggers.py", "query.where(created >= since, ", "query.where("),
        f"{_PREPARES}test_what_happened_before_the_choice_is_not_sent",
    ),
    off(
        _SENDER,
        "a look at whether the result was retracted",
        edit(
            f"{_SENDING}preparation.py",
            "    if row.moment is SendMoment.RESULT and is_retracted:\n",
            "    if False:\n",
        ),
        f"{_PREPARES}test_a_result_that_was_retracted_before_is_not_sent",
    ),
    off(
        _SENDER,
        "a look at whether the team hides the result",
        edit(
            f"{_SENDING}preparation.py", "    if ai.policy is AiShown.NEVER:\n", "    if False:\n"
        ),
        f"{_PREPARES}test_what_a_team_hides_is_not_sent_at_once",
    ),
    off(
        _SENDER,
        "a look at whether the result may be seen before a verdict",
        edit(f"{_SENDING}preparation.py", "    if not ai.is_visible:\n", "    if False:\n"),
        f"{_PREPARES}test_what_a_team_hides_is_not_sent_at_once",
    ),
    off(
        _SENDER,
        "a look at whether a second reader is waited for",
        edit(
            f"{_SENDING}preparation.py",
            "    if study.id in ai_visibility.readings(session, [study.id]).exams:\n",
            "    if False:\n",
        ),
        f"{_PREPARES}test_a_case_that_waits_for_a_second_reader_is_held",
    ),
    off(
        _SENDER,
        "a comment without what names the patient",
        edit(
            "portal/sends/remarks.py",
            "        shown = re.sub(sought, _HIDDEN, shown, flags=re.IGNORECASE)\n",
            "        pass\n",
        ),
        f"{_SENDS}test_answers.py::test_a_comment_is_short_and_names_nobody",
        quick=True,
    ),
    off(
        _SENDER,
        "TLS for a node of which a certificate is stated",
        edit(
            "portal/dicom_network/outgoing/calling.py",
            "    if node.fingerprint is not None and tls is None:\n        return None\n",
            "",
        ),
        "portal/dicom_network/test_outgoing_tls.py::"
        "test_a_node_with_a_certificate_is_never_called_without_tls",
    ),
    off(
        _SENDER,
        "the certificate that is stated of a node",
        edit(
            "portal/dicom_network/outgoing/calling.py",
            "    if node.fingerprint is not None and not _shows(found, node.fingerprint):\n",
            "    if False:\n",
        ),
        "portal/dicom_network/test_outgoing_tls.py::"
        "test_another_certificate_of_the_same_authority_is_left",
    ),
)
