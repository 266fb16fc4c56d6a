"""The access log, damaged pages, the scheduler's signs."""

from tests.campaigns.protections.protection import edit, off

_LOG = "the access log"
_PAGE = "a damaged page"

PROTECTIONS = (
    off(
        _LOG,
        "the comparison with anchors",
        edit(
            "portal/audit/anchored_check.py",
            "    found = anchors.compare(session, lines)\n",
            "    found = anchors.compare(session, [])\n",
        ),
        "portal/audit/test_anchored_check.py::"
        "test_a_tail_cut_with_the_database_alone_is_found_by_the_anchors",
        "portal/audit/test_anchored_check.py::"
        "test_an_older_file_of_the_database_put_back_is_found_for_every_table",
    ),
    off(
        _LOG,
        "anchors without a setting",
        edit(
            "portal/operations/scheduler.py",
            "        if anchoring.passed() is not None:\n",
            "        if anchoring.passed() is not None and settings.audit_anchor_file:\n",
        ),
        "portal/operations/test_scheduler.py::test_a_sweep_anchors_the_log_without_a_setting",
    ),
    off(
        _LOG,
        "anchors outside of the data folder",
        edit(
            "portal/settings/__init__.py",
            'self.data_dir.with_name(f"{self.data_dir.name}-anchors")',
            'self.data_dir / "anchors"',
        ),
        "portal/audit/test_anchors.py::"
        "test_anchors_lie_beside_the_data_folder_each_portals_in_a_file_of_its_own",
    ),
    off(
        _LOG,
        "a file of anchors missed that is gone",
        edit(
            "portal/audit/anchored_check.py",
            "    if known.was_begun and checked.anchored is not None "
            "and not checked.anchored.anchors:\n",
            "    if False:\n",
        ),
        "portal/audit/test_anchor_file.py::"
        "test_a_file_of_anchors_that_is_gone_is_missed_and_raises_one_alarm",
    ),
    off(
        _LOG,
        "reviews, proofs, holds, predictions and models compared with it",
        edit(
            "portal/audit/verification.py",
            "        if records:\n            compared",
            "        if False:\n            compared",
        ),
        "portal/audit/test_bindings.py::test_the_drill_every_table_and_every_attack",
    ),
    off(
        _LOG,
        "the refusal of REPLACE",
        edit(
            "migrations/versions/0014_records_are_not_replaced.py",
            '            _refuse(table, "INSERT", taken)\n',
            "            pass\n",
        ),
        "portal/audit/test_bindings.py::test_the_drill_every_table_and_every_attack",
        "portal/audit/test_bindings.py::test_a_row_is_not_replaced_by_another_key_of_it",
    ),
    off(
        _LOG,
        "a MAC of each row",
        edit(
            "portal/audit/verification.py",
            "        if gap < 0 or not macs.same("
            "row.mac, macs.of_row(self.key, before.mac, row)):\n",
            "        if gap < 0:\n",
        ),
        "portal/audit/test_verification.py::test_tampering_is_found_and_the_first_bad_row_named",
    ),
    off(
        _LOG,
        "the seal of the chain's end",
        edit(
            "portal/audit/verification.py",
            "        if not macs.is_end_of_chain(self.key, head):\n",
            "        if False:\n",
        ),
        "portal/audit/test_verification.py::test_a_chain_that_was_tampered_with_is_found",
    ),
    off(
        _LOG,
        "the seal of a writer's end",
        edit(
            "portal/audit/verification.py",
            "        if not macs.same(seal, macs.of_writer(self.key, writer, count, mac)):\n",
            "        if False:\n",
        ),
        "portal/audit/test_verification.py::"
        "test_a_writer_without_a_seal_is_found_although_no_row_is_missed",
    ),
    off(
        _LOG,
        "rows missed that have waited for a minute",
        edit(
            "portal/audit/verification.py",
            "    late = [row for row in waiting if now and abs(now - row.at) > LINKED_WITHIN]\n",
            "    late = waiting[:0]\n",
        ),
        "portal/audit/test_verification.py::"
        "test_rows_that_wait_for_more_than_a_minute_fail_the_check",
    ),
    off(
        _LOG,
        "the index of cases compared with the rows",
        edit(
            "portal/audit/verification.py",
            "        if all((study_id, row.seq) in indexed for study_id in named):\n",
            "        if True:\n",
        ),
        "portal/audit/test_verification.py::test_a_case_whose_index_lacks_a_row_is_found",
    ),
    off(
        _LOG,
        "the refusal to seal an end anew that was set back",
        edit(
            "portal/audit/first_seals.py",
            "        return not any(session.execute(used).one())\n",
            "        return True\n",
        ),
        "portal/audit/test_first_seals.py::"
        "test_an_end_that_was_set_back_is_not_sealed_by_an_upgrade",
    ),
    off(
        _LOG,
        "its daily check",
        edit(
            "portal/operations/scheduler.py",
            "        if verifying.passed() is not None:\n",
            "        if False:\n",
        ),
        "portal/operations/test_scheduler.py::"
        "test_a_log_that_was_changed_is_found_without_anybody_asking",
    ),
    off(
        _PAGE,
        "rows of the worklist read apart where one is damaged",
        edit(
            "portal/reading/worklist_rows.py",
            "    found, damaged = database.read_readable(\n"
            "        session, ids, lambda some: _rows(session, vault, actor, some, now)\n    )\n",
            "    found, damaged = _rows(session, vault, actor, ids, now), set[UUID]()\n",
        ),
        "portal/web/clinic/test_damaged_rows.py::test_a_damaged_page_hides_its_own_cases_alone",
    ),
    off(
        _PAGE,
        "what the check of SQLite's pages lists",
        edit(
            "portal/operations/background_check.py",
            '                return [f"database: {line}" for line in _split(lines) '
            'if line != "ok"]\n',
            "                return []\n",
        ),
        "portal/cli/test_doctor.py::test_rows_that_lie_in_a_wrong_order_are_named",
    ),
    off(
        _PAGE,
        "a check of pages that can't be ended, as damage",
        edit(
            "portal/operations/background_check.py",
            '        return ["database: it can\'t be read to its end"]\n',
            "        return []\n",
        ),
        "portal/cli/test_doctor.py::test_a_damaged_page_is_named",
    ),
    off(
        _PAGE,
        "what that check found, in readiness",
        edit(
            "portal/web/api/health.py",
            '            checks["integrity"] = checked.state(guard.now())\n',
            "            pass\n",
        ),
        "portal/web/clinic/test_damaged_rows.py::"
        "test_what_the_check_of_stored_data_found_is_in_readiness_and_on_the_jobs_page",
    ),
    off(
        _PAGE,
        "`vault verify` that goes on",
        edit(
            "portal/operations/integrity.py",
            "        session.rollback()\n"
            '        found.append(Finding("unreadable", what, None, study_id))\n',
            "        raise\n",
        ),
        "portal/operations/test_integrity.py::test_a_damaged_page_is_listed_and_stops_nothing",
    ),
    off(
        _PAGE,
        "a silent scheduler in readiness",
        edit(
            "portal/web/api/health.py",
            "        if scheduler_signs.silent(db_session()):\n",
            "        if False:\n",
        ),
        "portal/web/clinic/test_damaged_rows.py::"
        "test_a_silent_scheduler_is_in_readiness_and_on_the_jobs_page",
    ),
    off(
        _PAGE,
        "a sign of life of each loop of the scheduler",
        edit(
            "portal/operations/scheduler.py",
            "            scheduler_signs.give(session, scheduler_signs.LINK)\n",
            "            scheduler_signs.give(session, scheduler_signs.SWEEP)\n",
        ),
        "portal/operations/test_scheduler.py::test_each_loop_gives_its_own_sign",
    ),
    off(
        _PAGE,
        "signs judged by the database's clock",
        edit(
            "portal/governance/scheduler_signs.py",
            "            SchedulerSign.at < DatabaseTime(OLD_SECONDS),\n",
        ),
        "portal/operations/test_scheduler.py::test_a_sign_is_judged_by_the_databases_clock",
    ),
    off(
        _PAGE,
        "PostgreSQL without checksums called not checked",
        edit(
            "portal/web/api/health.py",
            '        if checks["integrity"] == "ok" '
            "and not database.checks_its_pages(db.engine):\n",
            "        if False:\n",
        ),
        "portal/test_postgres.py::test_pages_of_a_server_without_checksums_are_called_not_checked",
        postgres=True,
    ),
    off(
        _PAGE,
        "a limit of time for a PostgreSQL that answers no more",
        edit(
            "portal/database.py",
            "    if statement_seconds is not None:\n",
            "    if False:\n",
        ),
        "portal/test_postgres.py::test_the_server_ends_what_takes_a_request_too_long",
        postgres=True,
    ),
)
