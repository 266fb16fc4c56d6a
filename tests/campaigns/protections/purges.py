"""Purges, and the clock by which retention makes them."""

from tests.campaigns.protections.protection import edit, off

_PURGE = "purge"
_CLOCK = "a wrong clock"

PROTECTIONS = (
    off(
        _PURGE,
        "overwriting, truncating and searching before the proof",
        (
            edit("portal/database.py", '"secure_delete = ON"', '"secure_delete = OFF"'),
            edit(
                "portal/governance/erasure.py",
                "    path = Path(str(engine.url.database)).resolve()\n    _checkpoint(engine)\n"
                "    found, size = _search(path, marks)\n",
                "    found, size = 0, 0\n",
            ),
        ),
        "portal/governance/test_erasure.py::"
        "test_after_the_proof_no_file_of_the_database_holds_what_was_destroyed",
    ),
    off(
        _PURGE,
        "secure_delete",
        edit("portal/database.py", '"secure_delete = ON"', '"secure_delete = OFF"'),
        "portal/governance/test_erasure.py::"
        "test_after_the_proof_no_file_of_the_database_holds_what_was_destroyed",
    ),
    off(
        _PURGE,
        "the truncating checkpoint",
        edit(
            "portal/governance/erasure.py",
            '    if _run(engine, "PRAGMA wal_checkpoint(TRUNCATE)")[0] != 0:\n'
            "        raise NotErased\n",
            "    pass\n",
        ),
        "portal/governance/test_erasure.py::"
        "test_after_the_proof_no_file_of_the_database_holds_what_was_destroyed",
    ),
    off(
        _PURGE,
        "the search for copies in unused parts",
        edit(
            "portal/governance/erasure.py",
            "    vacuumed = found > 0\n",
            "    vacuumed = found = 0\n",
        ),
        "portal/governance/test_erasure.py::"
        "test_a_copy_in_an_unused_part_of_the_file_is_found_and_cleared",
    ),
    off(
        _PURGE,
        "the search in the write-ahead log",
        edit(
            "portal/governance/byte_search.py",
            '_SUFFIXES: Final = ("", "-wal", "-shm", "-journal")\n',
            '_SUFFIXES: Final = ("",)\n',
        ),
        "portal/governance/test_erasure.py::"
        "test_marks_are_searched_for_in_every_file_of_the_database",
        quick=True,
    ),
    off(
        _PURGE,
        "a failure of the search as one",
        edit(
            "portal/governance/erasure.py",
            "    if found.returncode != 0:\n        raise NotErased\n",
            "    if found.returncode != 0:\n        return 0, 0\n",
        ),
        "portal/governance/test_erasure.py::"
        "test_a_search_that_fails_is_no_search_that_found_nothing",
    ),
    off(
        _PURGE,
        "a proof that waits for readers of old pages",
        (
            edit(
                "portal/governance/erasure.py",
                '    if _run(engine, "PRAGMA wal_checkpoint(TRUNCATE)")[0] != 0:\n'
                "        raise NotErased\n",
                '    _run(engine, "PRAGMA wal_checkpoint(PASSIVE)")\n',
            ),
            edit("portal/governance/erasure.py", "    if found:\n        raise NotErased\n"),
        ),
        "portal/governance/test_erasure.py::"
        "test_as_long_as_somebody_reads_old_pages_there_is_no_proof",
    ),
    off(
        _PURGE,
        "a proof that waits for what makes PostgreSQL keep old versions",
        edit(
            "portal/governance/erasure.py",
            '        while connection.scalar(_OLDER, {"limit": limit}):\n',
            "        while False:\n",
        ),
        "portal/governance/test_erasure_postgresql.py::"
        "test_an_older_transaction_is_seen_by_a_role_that_may_not_see_the_sessions_of_others",
        "portal/governance/test_erasure_postgresql.py::"
        "test_what_makes_postgresql_keep_old_row_versions_holds_up_the_proof",
        postgres=True,
    ),
    off(
        _PURGE,
        "what can't be promised, in the proof",
        edit(
            "portal/governance/erasure.py",
            '            *("freed_page_space", "write_ahead_log", "replicas", '
            '"freed_disk_blocks", "backups"),\n',
        ),
        "portal/governance/test_erasure_postgresql.py::"
        "test_on_postgresql_the_proof_states_what_it_cannot_promise",
        postgres=True,
    ),
    off(
        _PURGE,
        "the removal of files",
        edit(
            "portal/governance/purges.py",
            "        for name in purge_proofs.names_of_files(started.statement):\n"
            "            vault.destroy(name)\n",
        ),
        "portal/governance/test_purges.py::test_after_a_purge_nothing_of_the_study_remains",
    ),
    off(
        _PURGE,
        "the rest of a purge that was stopped",
        edit(
            "portal/governance/purges.py",
            "    for study_id in waiting:\n",
            "    for study_id in ():\n",
        ),
        "portal/governance/test_erasure.py::test_a_purge_that_was_killed_is_finished_later",
    ),
    off(
        _CLOCK,
        "the judgement that it is ahead",
        edit(
            "portal/governance/clock.py",
            '            return Clock("ahead", start, running)\n',
            '            return Clock("ok", start, running)\n',
        ),
        "portal/governance/test_clock.py::test_a_sweep_whose_clock_is_years_ahead_purges_nothing",
        "portal/governance/test_clock.py::test_the_limits",
    ),
    off(
        _CLOCK,
        "the judgement that it is behind",
        edit("portal/governance/clock.py", "    if now < reference - BEHIND:\n", "    if False:\n"),
        "portal/governance/test_clock.py::test_the_limits",
        quick=True,
    ),
    off(
        _CLOCK,
        "the pause of retention",
        edit("portal/governance/retention.py", '    if state.state != "ok":\n', "    if False:\n"),
        "portal/governance/test_clock.py::test_a_sweep_whose_clock_is_years_ahead_purges_nothing",
    ),
    off(
        _CLOCK,
        "the pause of clean-up",
        edit(
            "portal/operations/scheduler.py",
            '        if found.state != "ok":  # by a wrong clock',
            "        if False:  # by a wrong clock",
        ),
        "portal/operations/test_scheduler.py::test_by_a_clock_that_has_jumped_nothing_is_tidied",
    ),
    off(
        _CLOCK,
        "the pause of alarms that go by the time",
        edit(
            "portal/jobs/sweeper.py",
            '    trusted = clock.look(session, now).state == "ok"\n',
            "    trusted = True\n",
        ),
        "portal/jobs/test_sweeper.py::test_by_a_clock_that_has_jumped_no_job_seems_to_wait",
    ),
    off(
        _CLOCK,
        "an administrator for its confirmation",
        edit(
            "portal/governance/clock.py",
            "    actor.require(Permission.DATA_MANAGE)\n    try:\n        row = _locked(session)\n",
            "    try:\n        row = _locked(session)\n",
        ),
        "portal/governance/test_clock.py::test_only_an_administrator_confirms_and_it_is_logged",
    ),
    off(
        _CLOCK,
        "a fresh proof of identity for its confirmation",
        edit(
            "portal/web/admin/data.py",
            '@blueprint.post("/clock")\n@_change\n',
            '@blueprint.post("/clock")\n@guard.permission(Permission.DATA_MANAGE)\n',
        ),
        "portal/web/admin/test_data.py::test_a_clock_is_confirmed_after_a_fresh_proof_alone",
    ),
    off(
        _CLOCK,
        "seven days on a list before retention purges",
        edit(
            "portal/governance/retention.py",
            "                    AnnouncedPurge.announced_at <= now - ANNOUNCED_BEFORE,\n"
            "                    AnnouncedPurge.announced_running\n"
            "                    <= (running - ANNOUNCED_BEFORE).total_seconds(),\n",
        ),
        "portal/governance/test_purges.py::"
        "test_a_case_is_listed_for_seven_days_and_a_hold_takes_it_off",
    ),
    off(
        _CLOCK,
        "those days by running time as well",
        edit(
            "portal/governance/retention.py",
            "                    AnnouncedPurge.announced_running\n"
            "                    <= (running - ANNOUNCED_BEFORE).total_seconds(),\n",
        ),
        "portal/governance/test_purges.py::test_a_jump_of_the_clock_skips_no_day_of_the_list",
    ),
    off(
        _CLOCK,
        "a limit of purges in a round",
        edit(
            "portal/governance/retention.py",
            "MOST_PURGED: Final = 20\n",
            "MOST_PURGED: Final = 2000\n",
        ),
        "portal/governance/test_purges.py::test_a_round_purges_twenty_at_most",
    ),
)
