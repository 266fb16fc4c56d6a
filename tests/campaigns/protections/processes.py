"""Processes that read what was sent: the layers that confine them, and secrets out of their way."""

from tests.campaigns.protections.protection import edit, off

_DECODER = "a decoder that was taken over"
_ALONE = "worker/isolation/test_confinement.py::test_what_each_layer_stops_alone"
_ALL = "worker/isolation/test_confinement.py::test_a_decoder_that_was_taken_over_gets_nothing"
_EACH = "worker/isolation/test_confinement.py::test_a_confined_process_has_each_layer"
_CONFINE = "worker/isolation/confinement.py"


PROTECTIONS = (
    off(
        _DECODER,
        "all layers together",
        (
            edit(
                _CONFINE,
                "    close_all_but({0, 1, 2, *keep})\n    if not kernel.LINUX:\n",
                "    return []\n    if not kernel.LINUX:\n",
            ),
            edit(
                _CONFINE,
                "    if not any(layer.startswith(_FILTER) for layer in missing):\n",
                "    if False:\n",
            ),
            edit(
                "worker/isolation/limits.py",
                "        lower(which, 0)\n",
                "        pass\n",
            ),
        ),
        _ALL,
    ),
    off(
        _DECODER,
        "namespaces",
        edit(
            "worker/isolation/namespaces.py",
            "    user, group = os.geteuid(), os.getegid()\n",
            "    return\n    user, group = os.geteuid(), os.getegid()\n",
        ),
        _ALONE,
    ),
    off(
        _DECODER,
        "a user of its own",
        edit(
            _CONFINE,
            "    os.setgroups([])\n    os.setresgid(OWN_ID, OWN_ID, OWN_ID)\n"
            "    os.setresuid(OWN_ID, OWN_ID, OWN_ID)\n",
            "    return\n",
        ),
        _ALONE,
    ),
    off(
        _DECODER,
        "Landlock",
        edit(
            "worker/isolation/landlock.py",
            "        kernel.system_call(_RESTRICT_SELF, ruleset, 0)\n",
            "        pass\n",
        ),
        _ALONE,
    ),
    off(
        _DECODER,
        "the filter of system calls",
        edit(
            "worker/isolation/system_calls.py",
            "    kernel.prctl(kernel.PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(described))\n",
        ),
        _ALONE,
    ),
    off(
        _DECODER,
        "a limit of descriptors",
        edit("worker/isolation/limits.py", "    lower(resource.RLIMIT_NOFILE, descriptors)\n"),
        _ALONE,
    ),
    off(
        _DECODER,
        "a limit of processes",
        edit("worker/isolation/limits.py", "    lower(resource.RLIMIT_NPROC, threads)\n"),
        _ALONE,
    ),
    off(
        _DECODER,
        "a limit of what is written into files",
        edit("worker/isolation/limits.py", "        lower(which, 0)\n", "        pass\n"),
        _ALONE,
    ),
    off(
        _DECODER,
        "parents that can't be read or traced",
        edit(
            "worker/isolation/kernel.py",
            "    if LINUX:\n        prctl(PR_SET_DUMPABLE, 0)\n",
            "    return\n",
        ),
        _ALONE,
    ),
    off(
        _DECODER,
        "descriptors closed that it inherits, below those it keeps",
        edit(_CONFINE, "            os.closerange(first, descriptor)\n", "            pass\n"),
        _ALONE,
    ),
    off(
        _DECODER,
        "descriptors closed that it inherits, above those it keeps",
        edit(
            _CONFINE,
            '    os.closerange(first, os.sysconf("SC_OPEN_MAX"))\n',
        ),
        _ALONE,
    ),
    off(
        _DECODER,
        "namespaces, beside all other layers",
        edit(
            _CONFINE,
            '    attempt("namespaces", lambda: namespaces.enter(readable, as_first=as_first))\n',
        ),
        f"{_EACH}[namespaces]",
    ),
    off(
        _DECODER,
        "a user of its own, beside all other layers",
        edit(_CONFINE, '        attempt("a user of its own", become_own_user)\n', "        pass\n"),
        f"{_EACH}[a user of its own]",
    ),
    off(
        _DECODER,
        "dropped capabilities (which root loses with its user, too)",
        (
            edit(_CONFINE, '    attempt("capabilities", kernel.drop_capabilities)\n'),
            edit(
                _CONFINE,
                '        attempt("a user of its own", become_own_user)\n',
                "        pass\n",
            ),
        ),
        f"{_EACH}[capabilities]",
    ),
    off(
        _DECODER,
        "Landlock, beside all other layers",
        edit(_CONFINE, '    attempt("Landlock", lambda: landlock.deny_everything(readable))\n'),
        f"{_EACH}[Landlock]",
    ),
    off(
        _DECODER,
        "the filter of system calls, beside all other layers",
        edit(_CONFINE, "        system_calls.restrict(also)\n", "        pass\n"),
        f"{_EACH}[filter of system calls]",
    ),
    off(
        _DECODER,
        "memory and environment that can't be read (which a change of user gives, too)",
        (
            edit(_CONFINE, "    kernel.make_undumpable()\n"),
            edit(
                _CONFINE,
                '        attempt("a user of its own", become_own_user)\n',
                "        pass\n",
            ),
        ),
        f"{_EACH}[undumpable]",
    ),
    off(
        _DECODER,
        "no new rights, beside all other layers",
        edit(_CONFINE, "    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)\n"),
        f"{_EACH}[no new rights]",
    ),
    off(
        _DECODER,
        "a process of its own for each file",
        edit(
            "worker/render/process_per_file.py",
            "        child = os.fork()\n        if child == 0:\n",
            "        child = 0\n        if child == 0:\n",
        ),
        "worker/render/test_bad_files.py::test_a_bad_file_harms_only_its_own_process",
    ),
    off(
        _DECODER,
        "a limit of memory for a file",
        edit("worker/isolation/limits.py", "    lower(resource.RLIMIT_AS, memory_bytes)\n"),
        "worker/render/test_render.py::test_a_file_that_needs_more_memory_than_allowed_is_stopped",
    ),
    off(
        _DECODER,
        "token and Redis' address kept from job processes",
        edit(
            "worker/settings.py",
            "    return {k: v for k, v in os.environ.items() if k not in files} | withheld\n",
            "    return dict(os.environ)\n",
        ),
        "worker/test_settings.py::test_a_process_that_does_jobs_has_neither_token_nor_redis",
        quick=True,
    ),
    off(
        _DECODER,
        "a worker that leaves the environment with its secrets",
        edit("worker/settings.py", "    environment.leave(SECRETS, os.environ)\n", "    return\n"),
        "worker/test_main.py::"
        "test_a_probe_sees_a_worker_that_lives_and_no_process_shows_its_secrets",
    ),
    off(
        _DECODER,
        "a portal that leaves the environment with its secrets",
        edit("portal/server/gunicorn_settings.py", "    leave_environment()\n"),
        "portal/server/test_gunicorn_settings.py::"
        "test_no_process_of_the_portal_shows_a_secret_that_it_was_given_in_a_variable",
    ),
    off(
        _DECODER,
        "secrets as files in memory",
        edit(
            "worker/isolation/environment.py",
            "    os.execve(sys.executable, program, variables)",
            "    os.execve(sys.executable, program, {**variables, **secrets})",
        ),
        "worker/isolation/test_environment.py::"
        "test_a_program_starts_anew_without_its_secrets_which_its_children_do_not_inherit",
    ),
    off(
        _DECODER,
        "an empty environment for processes that read headers",
        edit("portal/formats/header_pool.py", "                env=_ENVIRONMENT,\n"),
        "portal/formats/test_header_pool.py::"
        "test_a_process_has_no_environment_no_file_and_no_way_out",
    ),
    off(
        _DECODER,
        "the confinement of processes that read headers",
        edit(
            "portal/formats/header_process.py",
            "        missing = confine({channel.fileno()})\n",
            "        missing: list[str] = []\n",
        ),
        "portal/formats/test_header_pool.py::"
        "test_a_process_has_no_environment_no_file_and_no_way_out",
    ),
    off(
        _DECODER,
        "what is missing, printed at the start",
        edit(
            "portal/standalone/up.py",
            "        for line in isolation_lines(confinement.missing_layers()):\n",
            "        for line in ():\n",
        ),
        "faults/test_up.py::test_it_prints_what_is_not_isolated",
    ),
)
