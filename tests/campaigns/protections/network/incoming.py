"""Quarantine of what came by network, and links that lead into exams."""

from tests.campaigns.protections.protection import edit, off

_QUARANTINE = "quarantine"
_LINKS = "links into exams"
_FILES = "portal/governance/test_quarantine.py::"
_KEYS = "portal/teams/test_exam_links.py::"

PROTECTIONS = (
    off(
        _QUARANTINE,
        "room for so much of each team",
        edit(
            "portal/governance/quarantine.py",
            "    return count < MOST_FILES and int(filled) + size <= MOST_BYTES\n",
            "    return True\n",
        ),
        f"{_FILES}test_a_team_has_so_much_room_and_others_have_theirs",
    ),
    off(
        _QUARANTINE,
        "thirty days before it goes",
        edit(
            "portal/governance/quarantine.py",
            "QuarantinedFile.created <= now - LASTS)\n",
            "QuarantinedFile.created <= now)\n",
        ),
        f"{_FILES}test_after_thirty_days_row_and_file_are_gone_and_not_before",
    ),
    off(
        _QUARANTINE,
        "its list for administrators alone",
        edit(
            "portal/intake/quarantined.py",
            '    """The newest files of all teams, the newest first."""\n'
            "    actor.require(Permission.DATA_MANAGE)\n",
            '    """The newest files of all teams, the newest first."""\n',
        ),
        "portal/intake/test_quarantined.py::test_administrators_alone_see_and_release",
    ),
    off(
        _QUARANTINE,
        "a word where its destruction is not certain",
        edit(
            "portal/intake/quarantined.py",
            "    except erasure.NotErased:\n        return False\n",
            "    except erasure.NotErased:\n        pass\n",
        ),
        "portal/web/admin/incoming/test_quarantine.py::"
        "test_what_is_not_certain_of_its_destruction_is_stated",
    ),
    off(
        _QUARANTINE,
        "our own pictures kept out of it",
        edit(
            "portal/dicom_network/storing.py",
            "        if header.made_here:\n            return\n",
        ),
        "portal/web/dicomweb/test_storing.py::"
        "test_a_refused_picture_is_kept_in_quarantine_and_what_is_none_is_not",
    ),
    off(
        _LINKS,
        "a signature of a key",
        edit(
            "portal/teams/exam_links.py",
            "    if not hmac.compare_digest(expected, match[5]) or not 0 <",
            "    if not 0 <",
        ),
        f"{_KEYS}test_no_letter_of_a_link_can_be_another",
    ),
    off(
        _LINKS,
        "an end after at most a day",
        edit(
            "portal/teams/exam_links.py",
            " or not 0 < left <= LONGEST.total_seconds():\n",
            ":\n",
        ),
        f"{_KEYS}test_what_is_over_too_long_or_names_nothing_opens_nothing",
    ),
    off(
        _LINKS,
        "an end with their key",
        edit(
            "portal/teams/exam_links.py",
            "    if row is None or row.ended_at is not None:\n",
            "    if row is None:\n",
        ),
        f"{_KEYS}test_an_ended_key_and_one_of_another_place_open_nothing",
    ),
    off(
        _LINKS,
        "keys that administrators alone make and end",
        edit(
            "portal/teams/exam_links.py",
            'Denied where the team has no such key."""\n'
            "    actor.require(Permission.PEOPLE_MANAGE)\n",
            'Denied where the team has no such key."""\n',
        ),
        f"{_KEYS}test_administrators_alone_make_and_end_keys",
    ),
    off(
        _LINKS,
        "exams that the person may see anyway",
        edit(
            "portal/reading/linked_exams.py",
            "        visible_studies(actor)\n        .where(",
            "        select(Study)\n        .where(",
        ),
        "portal/web/clinic/links/test_open_exam.py::"
        "test_what_the_person_may_not_see_is_not_found_and_written_down",
    ),
)
