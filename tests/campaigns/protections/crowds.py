"""The web server beside crowds of strangers."""

from tests.campaigns.protections.protection import edit, off

_CROWDS = "crowds of strangers"

PROTECTIONS = (
    off(
        _CROWDS,
        "a limit of connections for each address",
        edit(
            "portal/server/places.py",
            "        if self._taken[network] >= self._per_address "
            "and not self._make_way(network):\n",
            "        if False:\n",
        ),
        "portal/server/test_crowds.py::"
        "test_an_address_has_a_limited_number_of_connections_and_its_oldest_gives_way",
        "portal/server/test_places.py::"
        "test_at_an_address_that_has_too_many_one_of_its_own_gives_way",
    ),
    off(
        _CROWDS,
        "strangers who give way to new connections",
        edit(
            "portal/server/places.py",
            "        if self._total >= limits.CONNECTIONS and not self._make_way():\n",
            "        if self._total >= limits.CONNECTIONS:\n",
        ),
        "portal/server/test_crowds.py::"
        "test_a_crowd_of_halves_stops_neither_health_workers_nor_people",
    ),
    off(
        _CROWDS,
        "threads that people who are known have for themselves",
        edit(
            "portal/server/lanes.py",
            "        if sender is Sender.PERSON:\n            return self._people\n",
        ),
        "portal/server/test_lanes.py::test_a_lane_follows_from_who_is_known",
        "portal/server/test_application.py::"
        "test_people_workers_and_health_checks_do_not_wait_for_others",
    ),
    off(
        _CROWDS,
        "workers' threads for workers, whatever the path",
        edit(
            "portal/server/lanes.py",
            '        if sender is Sender.WORKER and path.startswith("/worker/"):\n',
            '        if path.startswith("/worker/"):\n',
        ),
        "portal/server/test_lanes.py::test_a_lane_follows_from_who_is_known",
        "portal/server/test_application.py::"
        "test_people_workers_and_health_checks_do_not_wait_for_others",
    ),
    off(
        _CROWDS,
        "logins forgotten that have ended",
        edit(
            "portal/web/security/known_senders.py",
            "            if sender is None:\n                self._logins.forget(_digest(raw))\n",
            "            if sender is None:\n                pass\n",
        ),
        "portal/web/security/test_known_senders.py::"
        "test_a_login_that_has_ended_is_forgotten_when_it_is_shown",
    ),
    off(
        _CROWDS,
        "a limit of places for one login",
        edit(
            "portal/server/places.py",
            "            self._kept[known.holder] < limits.KNOWN_PER_SENDER\n            and ",
            "            ",
        ),
        "portal/server/test_places.py::test_one_login_keeps_so_many_places_and_the_others_give_way",
        "portal/server/test_crowds.py::test_a_login_that_lasts_keeps_a_limited_number_of_places",
    ),
    off(
        _CROWDS,
        "the last places for workers and health checks",
        edit(
            "portal/server/places.py",
            "limits.CONNECTIONS - limits.WORKERS_CONNECTIONS",
            "limits.CONNECTIONS",
        ),
        "portal/server/test_places.py::"
        "test_with_any_number_of_logins_places_are_left_for_workers_and_health_checks",
        quick=True,
    ),
    off(
        _CROWDS,
        "places that strangers in work leave",
        edit(
            "portal/server/places.py",
            "            self._held() >= limits.CONNECTIONS - limits.RESERVED_CONNECTIONS\n"
            "            or ",
            "            ",
        ),
        "portal/server/test_places.py::test_strangers_in_work_leave_places_to_others",
        quick=True,
    ),
    off(
        _CROWDS,
        "a limit of bytes of unfinished requests",
        edit(
            "portal/server/places.py",
            "        while self._received[State.WAITING] > limits.STRANGERS_BYTES:\n",
            "        while False:\n",
        ),
        "portal/server/test_places.py::test_who_has_sent_most_of_what_is_unfinished_gives_way",
    ),
    off(
        _CROWDS,
        "a network of IPv6 as one address",
        edit(
            "portal/accounts/throttle.py",
            '    return str(ipaddress.IPv6Address(int(found) >> 64 << 64)) + "/64"\n',
            "    return str(found)\n",
        ),
        "portal/server/test_places.py::test_of_ipv6_a_network_of_64_bits_is_one_address",
        quick=True,
    ),
    off(
        _CROWDS,
        "one answer to all health checks of a second",
        edit(
            "portal/server/health_answers.py",
            "        if made is None or (made.done() and (is_old or _failed(made))):\n",
            "        if True:\n",
        ),
        "portal/server/test_health_answers.py::"
        "test_whoever_asks_at_the_same_time_or_soon_gets_one_answer",
        quick=True,
    ),
    off(
        _CROWDS,
        "a limit of health checks for an address",
        edit(
            "portal/server/health_answers.py",
            "        if self._asked[origin(client)] > limits.HEALTH_CHECKS_PER_SECOND:\n",
            "        if False:\n",
        ),
        "portal/server/test_health_answers.py::"
        "test_an_address_that_asks_too_often_is_refused_and_others_are_not",
        quick=True,
    ),
    off(
        _CROWDS,
        "the look at who sends before a body is read",
        edit(
            "portal/server/limits.py",
            "UNCHECKED_BYTES: Final = 64 * 1024\n",
            "UNCHECKED_BYTES: Final = 64 * 1024 * 1024\n",
        ),
        "portal/server/test_application.py::test_nobody_unknown_gets_a_large_body_read",
    ),
)
