"""Pictures of one UID, and what else is decided after a look."""

from tests.campaigns.protections.protection import edit, off

_UID = "two pictures of one UID"
_ACT = "what is decided after a look"

_TAKEN_FOR_A_DUPLICATE = edit(
    "portal/intake/submission.py",
    "            session.rollback()  # another request has stored this picture, UID or exam\n",
    "            session.rollback()\n"
    '            sop = header_columns.keyed(vault, "sop_uid", upload.keys)\n'
    "            first = session.scalars(select(Instance).where(Instance.sop_key == sop)).first()\n"
    "            if first is not None:\n"
    "                study = session.get_one(Study, first.study_id)\n"
    "                return _duplicate(Known(study, first.id))\n",
)

PROTECTIONS = (
    off(
        _UID,
        "the comparison of pixels under a known UID",
        edit(
            "portal/intake/known_pictures.py",
            "    if digest == _stored_digest(session, vault, first, work):\n",
            "    if True:\n",
        ),
        "portal/intake/test_submission.py::"
        "test_other_pixels_under_a_known_uid_are_a_case_of_their_own",
    ),
    off(
        _UID,
        "a new look where the other has come in meanwhile",
        _TAKEN_FOR_A_DUPLICATE,
        "portal/intake/test_known_pictures.py::"
        "test_two_pictures_of_a_uid_are_both_kept_in_either_order",
    ),
    off(
        _UID,
        "the same, on PostgreSQL",
        _TAKEN_FOR_A_DUPLICATE,
        "portal/intake/test_known_pictures.py::"
        "test_two_pictures_of_a_uid_are_both_kept_in_either_order",
        postgres=True,
    ),
    off(
        _UID,
        "any new look",
        edit(
            "portal/intake/submission.py",
            "        except (IntegrityError, Changed):\n",
            "        except ZeroDivisionError:\n",
        ),
        "portal/intake/test_submission.py::"
        "test_the_same_picture_sent_ten_times_at_once_is_one_case",
        "portal/intake/test_known_pictures.py::"
        "test_two_pictures_of_a_uid_are_both_kept_in_either_order",
        postgres=True,
    ),
    off(
        _UID,
        "the answer about a known picture under its exam's lock",
        edit(
            "portal/intake/known_pictures.py",
            '        Study, instance.study_id, with_for_update={"key_share": True}, '
            "populate_existing=True\n",
            "        Study, instance.study_id, populate_existing=True\n",
        ),
        "portal/intake/test_known_pictures.py::"
        "test_a_purge_waits_for_the_answer_about_a_known_picture",
        postgres=True,
    ),
    off(
        _UID,
        "a second look at whether the exam was purged or joined",
        edit(
            "portal/intake/known_pictures.py",
            "    if study.purged_at is not None or instance.study_id != study.id:\n",
            "    if False:\n",
        ),
        "portal/intake/test_known_pictures.py::"
        "test_a_picture_that_is_purged_after_the_look_is_stored_anew",
        "portal/intake/test_known_pictures.py::"
        "test_a_picture_whose_exam_is_joined_after_the_look_leads_to_the_exam_that_holds_it",
        postgres=True,
    ),
    off(
        _UID,
        "the first picture of a UID read once for a ZIP",
        edit(
            "portal/intake/known_pictures.py",
            "    if instance.id not in work.pixels:\n",
            "    if True:\n",
        ),
        "portal/intake/test_known_pictures.py::test_a_zip_of_one_uid_reads_the_first_picture_once",
    ),
    off(
        _UID,
        "a look at whether the known picture can still be read",
        edit(
            "portal/intake/known_pictures.py",
            "is_lost=not _is_readable(session, vault, known, work)",
            "is_lost=False",
        ),
        "portal/intake/test_known_pictures.py::test_the_same_file_takes_the_place_of_a_lost_one",
    ),
    off(
        _ACT,
        "a look at whether the exam was purged while the file was written",
        edit(
            "portal/intake/submission.py",
            "    if study.purged_at is not None or study.joined_into is not None:\n",
            "    if False:\n",
        ),
        "portal/intake/test_submission.py::"
        "test_an_exam_that_is_purged_while_its_second_picture_is_written_is_not_filled_again",
    ),
    off(
        _ACT,
        "the lock of a case between hold and purge",
        edit(
            "portal/governance/legal_holds.py",
            "with_for_update=SHARED_KEY, populate_existing=True",
            "populate_existing=True",
        ),
        "portal/governance/test_purges.py::"
        "test_of_a_hold_and_a_purge_at_the_same_time_only_one_comes_through",
        postgres=True,
    ),
    off(
        _ACT,
        "the lock of alarms that an auditor has seen",
        edit("portal/audit/alarms.py", "    audit.hold_order(session)", "    pass"),
        "portal/accounts/test_at_once.py::"
        "test_of_two_who_have_seen_alarms_at_once_the_one_behind_takes_nothing_back",
        postgres=True,
    ),
)
