"""Passkeys, recovery codes and the issuer of single sign-on."""

from tests.campaigns.protections.protection import edit, off

_FACTORS = "passkeys and recovery codes"
_ISSUER = "the issuer of single sign-on"

PROTECTIONS = (
    off(
        _FACTORS,
        "recovery codes of 138 bits",
        edit("portal/accounts/factors/totp.py", "_GROUPS, _GROUP = 7, 4", "_GROUPS, _GROUP = 4, 4"),
        "portal/accounts/factors/test_totp.py::"
        "test_recovery_codes_cannot_be_computed_from_their_digests",
    ),
    off(
        _FACTORS,
        "the refusal of codes of version 0.1",
        edit(
            "portal/accounts/factors/totp.py",
            "    if len(bare) != _GROUPS * _GROUP:  # as those of version 0.1 are\n",
            "    if not bare:\n",
        ),
        "portal/accounts/factors/test_totp.py::test_recovery_codes_of_version_0_1_open_nothing",
    ),
    off(
        _FACTORS,
        "a time-based code that works once",
        edit(
            "portal/accounts/factors/totp.py",
            "        .where(or_(User.last_totp_step.is_(None), User.last_totp_step < step))\n",
        ),
        "portal/accounts/factors/test_totp.py::test_a_code_used_twice_at_once_opens_once",
    ),
    off(
        _FACTORS,
        "the refusal of answers from a frame",
        edit(
            "portal/accounts/factors/passkeys.py",
            "    return bool(client.cross_origin)\n",
            "    return False\n",
        ),
        "portal/accounts/factors/test_passkeys.py::test_it_refuses",
    ),
    off(
        _FACTORS,
        "a look at whom the device names",
        edit(
            "portal/accounts/factors/passkeys.py",
            "    return not handle or base64url_to_bytes(handle) == user_id.bytes\n",
            "    return True\n",
        ),
        "portal/accounts/factors/test_passkeys.py::test_it_refuses",
    ),
    off(
        _FACTORS,
        "user verification at sign-in",
        edit(
            "portal/accounts/factors/passkeys.py",
            "            credential_current_sign_count=row.sign_count,\n"
            "            require_user_verification=True,\n",
            "            credential_current_sign_count=row.sign_count,\n"
            "            require_user_verification=False,\n",
        ),
        "portal/accounts/factors/test_passkeys.py::test_it_refuses",
    ),
    off(
        _FACTORS,
        "a challenge for one try",
        edit(
            "portal/accounts/factors/passkeys.py",
            "        .values(challenge=None)\n",
            "        .values(challenge=waiting)\n",
        ),
        "portal/accounts/factors/test_passkeys.py::test_an_answer_works_once",
    ),
    off(
        _FACTORS,
        "a challenge that lasts for minutes",
        edit(
            "portal/accounts/factors/passkeys.py",
            "            LoginSession.challenge_at > now - _LIFETIME,\n",
        ),
        "portal/accounts/factors/test_passkeys.py::test_a_challenge_lasts_for_minutes",
    ),
    off(
        _FACTORS,
        "a counter that does not go back",
        edit(
            "portal/accounts/factors/passkeys.py",
            "            credential_current_sign_count=row.sign_count,\n",
            "            credential_current_sign_count=0,\n",
        ),
        "portal/accounts/factors/test_passkeys.py::test_a_counter_that_goes_back_is_a_copy",
    ),
    off(
        _FACTORS,
        "a key of the kind that its algorithm needs",
        edit(
            "portal/accounts/factors/passkeys.py",
            "    return isinstance(key, _KINDS[key.alg])\n",
            "    return True\n",
        ),
        "portal/accounts/factors/test_passkeys.py::test_an_invalid_passkey_is_not_stored",
    ),
    off(
        _FACTORS,
        "passkeys of one person alone",
        edit(
            "portal/accounts/factors/passkeys.py",
            "select(Passkey).where("
            "Passkey.credential_key == key, Passkey.user_id == login.user_id)",
            "select(Passkey).where(Passkey.credential_key == key)",
        ),
        "portal/accounts/factors/test_passkeys.py::test_another_persons_passkey_opens_nothing",
    ),
    off(
        _FACTORS,
        "a limit of tries",
        edit("portal/accounts/factors/totp.py", "    throttle.take([own], now)\n"),
        "portal/accounts/factors/test_passkeys.py::test_guessing_has_to_wait",
    ),
    off(
        _ISSUER,
        "a bound of the size of its answers",
        edit(
            "portal/accounts/openid_connect.py",
            "            if size > _LARGEST_ANSWER:\n",
            "            if False:\n",
        ),
        "portal/web/accounts/test_single_sign_on.py::"
        "test_an_odd_answer_of_the_issuer_is_cut_off_and_lets_nobody_in",
    ),
    off(
        _ISSUER,
        "a bound of the time of its answers",
        edit(
            "portal/accounts/openid_connect.py",
            "            if self._clock() > end:\n",
            "            if False:\n",
        ),
        "portal/web/accounts/test_single_sign_on.py::"
        "test_an_answer_that_comes_drop_by_drop_has_an_end",
    ),
    off(
        _ISSUER,
        "the refusal of packed answers",
        edit(
            "portal/accounts/openid_connect.py",
            '        if answer.headers.get("Content-Encoding", "identity") != "identity":\n',
            "        if False:\n",
        ),
        "portal/web/accounts/test_single_sign_on.py::test_an_issuers_answer_is_not_unpacked",
    ),
    off(
        _ISSUER,
        "one that waits for it, and the others sent away",
        edit(
            "portal/accounts/openid_connect.py",
            "            if self._is_reading:\n                raise ProviderUnavailable\n",
        ),
        "portal/web/accounts/test_issuer_away.py::"
        "test_while_one_waits_for_the_issuer_all_others_are_sent_away_at_once",
    ),
    off(
        _ISSUER,
        "a limit of those who wait for what a code stands for",
        edit(
            "portal/accounts/openid_connect.py",
            "            if self._exchanging >= _EXCHANGES:\n",
            "            if False:\n",
        ),
        "portal/web/accounts/test_issuer_away.py::test_few_wait_for_what_a_code_stands_for",
    ),
    off(
        _ISSUER,
        "the nonce of its answer",
        edit(
            "portal/accounts/openid_connect.py",
            '            nonce={"essential": True, "value": nonce},\n',
        ),
        "portal/web/accounts/test_single_sign_on.py::test_it_lets_nobody_in",
    ),
    off(
        _ISSUER,
        "the state of its answer",
        edit(
            "portal/web/accounts/single_sign_on.py",
            '    if not taken or not hmac.compare_digest(str(taken["state"]).encode(), given):\n',
            "    if not taken or not given:\n",
        ),
        "portal/web/accounts/test_single_sign_on.py::test_an_answer_to_another_browser_is_refused",
    ),
    off(
        _ISSUER,
        "addresses at its own origin alone",
        edit(
            "portal/accounts/openid_connect.py",
            "    if any(_origin(address) != _origin(sso.issuer) for address in named.values()):\n",
            "    if False:\n",
        ),
        "portal/web/accounts/test_single_sign_on.py::"
        "test_the_issuer_is_the_only_host_that_is_called",
    ),
)
