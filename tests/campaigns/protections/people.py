"""People kept out by others, and what ended meanwhile."""

from tests.campaigns.protections.protection import edit, off

_OUT = "a person kept out"
_MEANWHILE = "what ended meanwhile"

PROTECTIONS = (
    off(
        _OUT,
        "tries of its own for a browser, at the password",
        edit(
            "portal/accounts/people.py",
            "    device = device_cookie.read(email, now) if device_cookie else None\n",
            "    device = None\n",
        ),
        "portal/accounts/test_device_cookies.py::"
        "test_strangers_at_the_same_address_do_not_reach_the_persons_own_browser",
        "portal/web/security/test_device_cookie.py::"
        "test_a_person_signs_in_where_they_did_before_whatever_their_neighbours_do",
    ),
    off(
        _OUT,
        "tries of its own for a browser, at the second factor",
        edit(
            "portal/accounts/factors/totp.py",
            "    device = device_cookie.device_of(user, now) if device_cookie else None\n",
            "    device = None\n",
        ),
        "portal/accounts/test_device_cookies.py::test_the_second_factor_is_counted_by_browser_too",
        "portal/accounts/test_device_cookies.py::test_a_passkey_is_counted_by_browser_too",
    ),
    off(
        _OUT,
        "a limit of tries for such a browser, at the password",
        edit(
            "portal/accounts/people.py",
            "        throttle.take([(DEVICE, device.number)], now)\n",
            "        pass\n",
        ),
        "portal/accounts/test_device_cookies.py::"
        "test_a_stolen_cookie_has_few_tries_at_the_password_too",
    ),
    off(
        _OUT,
        "a limit of tries for such a browser, at the second factor",
        edit("portal/accounts/factors/totp.py", "    throttle.take([own], now)\n"),
        "portal/accounts/test_device_cookies.py::"
        "test_a_stolen_cookie_takes_no_tries_of_anybody_else",
    ),
    off(
        _OUT,
        "the end of entries with the sessions",
        edit(
            "portal/accounts/device_cookies.py",
            "        return user is not None and user.device_generation == self.generation\n",
            "        return user is not None\n",
        ),
        "portal/accounts/test_device_cookies.py::"
        "test_what_ends_a_persons_sessions_ends_their_entries",
    ),
    off(
        _OUT,
        "entries that are worth nothing for another account",
        edit(
            "portal/accounts/device_cookies.py",
            '        return self._signed(f"pleura.device:{person}")\n',
            '        return self._signed("pleura.device" + person[:0])\n',
        ),
        "portal/accounts/test_device_cookies.py::"
        "test_an_entry_of_another_account_is_counted_with_strangers",
    ),
    off(
        _OUT,
        "an end of entries after 90 days",
        edit(
            "portal/accounts/device_cookies.py",
            "        return Device(number, generation) "
            "if 0 <= age < LIFETIME.total_seconds() else None\n",
            "        return Device(number, generation) if 0 <= age else None\n",
        ),
        "portal/accounts/test_device_cookies.py::test_an_entry_has_an_end",
    ),
    off(
        _OUT,
        "the limit of one account from one address",
        edit(
            "portal/accounts/people.py",
            "[(ADDRESS, origin(address)), (ACCOUNT, at(email, address))]",
            "[(ADDRESS, origin(address))]",
        ),
        "portal/web/accounts/test_sign_in.py::test_the_sixth_try_in_a_minute_has_to_wait",
    ),
    off(
        _OUT,
        "the second factor counted by address",
        edit(
            "portal/accounts/factors/totp.py",
            "(CODE, at(str(user_id), address))",
            '(CODE, at(str(user_id), ""))',
        ),
        "portal/accounts/test_people.py::"
        "test_who_knows_one_factor_alone_keeps_nobody_out_at_the_other",
    ),
    off(
        _OUT,
        "a look at whether Redis' answer can be a pause",
        edit(
            "portal/accounts/throttle.py",
            "                if 0 <= pause <= LONGEST_PAUSE_SECONDS + WINDOW_SECONDS:\n"
            "                    return min(pause, LONGEST_PAUSE_SECONDS)\n",
            "                return pause\n",
        ),
        "portal/accounts/test_throttle.py::test_an_odd_answer_of_redis_is_no_pause",
    ),
    off(
        _OUT,
        "tries of its own for a browser on the way to the issuer",
        edit(
            "portal/web/accounts/single_sign_on.py",
            "    _count(LEAVE_BROWSER, browser, LEAVE)\n",
            "    _count(LEAVE_BROWSER, None, LEAVE)\n",
        ),
        "portal/web/accounts/test_issuer_away.py::"
        "test_neighbours_at_one_address_keep_nobody_out_who_signed_in_there_before",
    ),
    off(
        _MEANWHILE,
        "a look at whether the proof still counts",
        edit(
            "portal/accounts/sessions.py",
            "    if now.disabled_at is not None "
            "or now.device_generation != user.device_generation:\n",
            "    if False:\n",
        ),
        "portal/accounts/test_ended_meanwhile.py::"
        "test_nobody_comes_in_by_what_was_proved_before_a_change",
    ),
    off(
        _MEANWHILE,
        "a renewed hash only where the password is still the same",
        edit(
            "portal/accounts/people.py",
            "            .where(User.id == user.id, User.password_hash == user.password_hash)\n",
            "            .where(User.id == user.id)\n",
        ),
        "portal/accounts/test_ended_meanwhile.py::"
        "test_a_password_that_is_hashed_anew_at_sign_in_does_not_come_back",
    ),
    off(
        _MEANWHILE,
        "the right of an admin looked at again under a lock",
        edit(
            "portal/accounts/people.py",
            "    recheck_permission(session, actor, Permission.PEOPLE_MANAGE, user.id)\n",
        ),
        "portal/accounts/test_four_eyes.py::"
        "test_of_two_admins_who_shut_each_other_out_at_once_one_stays",
    ),
)
