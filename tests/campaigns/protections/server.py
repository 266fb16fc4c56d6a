"""The web server beside slow clients, and its own answers."""

from tests.campaigns.protections.protection import edit, off

_SLOW = "slow clients"
_ANSWERS = "the server's own answers"

PROTECTIONS = (
    off(
        _SLOW,
        "a limit of time for a header",
        edit(
            "portal/server/connection.py",
            "        self._header_timer = self.worker.loop.call_later("
            "limits.HEADER_SECONDS, self._header_late)\n",
        ),
        "portal/server/test_connection.py::"
        "test_a_header_that_comes_byte_by_byte_has_to_be_complete_in_time",
    ),
    off(
        _SLOW,
        "a limit of time for a body",
        edit(
            "portal/server/request_body.py",
            "                async with asyncio.timeout_at(self._deadline):\n",
            "                async with asyncio.timeout_at(None):\n",
        ),
        "portal/server/test_application.py::test_half_bodies_take_no_thread_and_end",
    ),
    off(
        _SLOW,
        "a limit of time for the reader of an answer",
        edit(
            "portal/server/sending.py",
            "            async with asyncio.timeout(limits.ANSWER_SECONDS):\n"
            '                await send({"type": "http.response.body", "body": part',
            "            async with asyncio.timeout(None):\n"
            '                await send({"type": "http.response.body", "body": part',
        ),
        "portal/server/test_application.py::"
        "test_readers_that_do_not_read_take_no_thread_and_are_cut_off",
    ),
    off(
        _SLOW,
        "event streams without a thread each",
        edit(
            "portal/server/application.py",
            'result if isinstance(result, EventStream) else b"".join(list(result))',
            'b"".join(list(result))',
        ),
        "portal/server/test_application.py::test_silent_streams_take_no_thread",
    ),
    off(
        _SLOW,
        "a limit for the header as a whole",
        edit(
            "portal/server/connection.py",
            "        if goes_on and self._current_request is None "
            "and self._place.received > limits.HEADER_BYTES:\n",
            "        if False:\n",
        ),
        "portal/server/test_connection.py::test_a_header_is_limited_as_a_whole",
    ),
    off(
        _SLOW,
        "a small buffer of what is sent",
        edit(
            "portal/server/connection.py",
            "        connection.setsockopt("
            "socket.SOL_SOCKET, socket.SO_SNDBUF, limits.SEND_BUFFER)\n",
        ),
        "portal/server/test_application.py::test_a_reader_who_reads_nothing_is_sent_little",
    ),
    off(
        _SLOW,
        "the end of an answer that is too much beside others",
        edit(
            "portal/server/memory.py",
            "        while self._waiting and self._size + size > self._most:\n",
            "        while False:\n",
        ),
        "portal/server/test_memory.py::test_who_is_behind_most_gives_way_to_a_new_answer",
        "portal/server/test_crowds.py::test_a_slow_reader_gives_way_when_answers_are_too_many",
    ),
    off(
        _SLOW,
        "memory for a body as it arrives, not as it is announced",
        edit(
            "portal/server/application.py",
            "        async with lane.memory.hold() as hold:\n",
            "        async with lane.memory.hold() as hold:\n"
            "            await hold.grow(max(length, 0))\n",
        ),
        "portal/server/test_crowds.py::test_bodies_that_are_announced_keep_no_others_waiting",
    ),
    off(
        _SLOW,
        "what is loaded left out of the search for unreachable objects",
        edit("portal/server/gunicorn_settings.py", "    gc.freeze()\n"),
        "portal/server/test_application.py::"
        "test_what_was_loaded_is_left_out_of_the_search_for_unreachable_objects",
    ),
    off(
        _SLOW,
        "a place given back by who leaves before the answer",
        edit(
            "portal/server/application.py",
            "                self.requests.give_back(client)\n",
            "                pass\n",
        ),
        "portal/server/test_application.py::"
        "test_a_client_that_leaves_before_its_answer_gives_its_place_back",
    ),
    off(
        _ANSWERS,
        "headers on what the server answers itself",
        edit("portal/server/own_answers.py", "            *self._headers.items(),\n"),
        "portal/server/test_connection.py::"
        "test_a_request_that_could_be_read_in_two_ways_is_refused",
    ),
    off(
        _ANSWERS,
        "the refusal of a target of another host",
        edit(
            "portal/server/environ.py",
            '    if address.scheme not in (b"http", b"https") '
            'or address.netloc != headers.get(b"host"):\n',
            '    if address.scheme not in (b"http", b"https"):\n',
        ),
        "portal/server/test_environ.py::"
        "test_a_whole_address_is_taken_for_the_host_of_the_header_alone",
        quick=True,
    ),
    off(
        _ANSWERS,
        "redirects that name no host",
        edit(
            "portal/web/security/guard.py",
            "    if isinstance(request.routing_exception, RequestRedirect):\n",
            "    if False:\n",
        ),
        "portal/server/test_connection.py::test_a_redirect_to_the_right_address_names_no_host",
    ),
    off(
        _ANSWERS,
        "the server's own values, whatever headers say",
        (
            edit(
                "portal/server/gunicorn_settings.py",
                'forwarded_allow_ips = ""\nforwarder_headers = ""\n',
                'forwarded_allow_ips = "127.0.0.1"\n',
            ),
            edit(
                "portal/server/environ.py",
                '        "SCRIPT_NAME": "",\n',
                '        "SCRIPT_NAME": headers.get(b"script_name", b"").decode("latin-1"),\n',
            ),
        ),
        "portal/server/test_connection.py::test_no_header_sets_where_the_portal_is",
    ),
    off(
        _ANSWERS,
        "X-Forwarded-Host left unread",
        edit(
            "portal/web/__init__.py", "x_for=n, x_proto=n, x_host=0", "x_for=n, x_proto=n, x_host=n"
        ),
        "portal/web/security/test_headers.py::"
        "test_no_client_names_the_portals_host_whatever_proxies_there_are",
    ),
)
