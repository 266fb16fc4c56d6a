"""Connections to other servers, workers' tokens, claims of the documents."""

from tests.campaigns.protections.protection import edit, off

_SERVERS = "connections to other servers"
_WORKERS = "workers' tokens"
_CLAIMS = "claims of the documents"
_TLS = "portal/settings/test_tls.py"

_DICOM = "what comes by DICOM"

PROTECTIONS = (
    off(
        _SERVERS,
        "https:// from workers to the portal",
        edit(
            "worker/settings.py",
            '        if portal.scheme == "http" and not tls.is_here(host) '
            "and host not in settings.plain_hosts:\n",
            "        if False:\n",
        ),
        "worker/test_settings.py::"
        "test_pictures_do_not_cross_a_network_unencrypted_unless_a_setting_allows_it",
        quick=True,
    ),
    off(
        _SERVERS,
        "TLS to a Redis on another host",
        edit(
            "worker/contract/tls.py",
            "    if plain and plain_hosts is not None and host not in plain_hosts:\n",
            "    if False:\n",
        ),
        "worker/contract/test_tls.py::test_when_redis_needs_tls",
        "worker/contract/test_tls.py::test_a_worker_does_not_start_without_tls_to_another_host",
    ),
    off(
        _SERVERS,
        "a look at the certificate of Redis",
        (
            edit(
                "worker/contract/tls.py",
                '        "ssl_cert_reqs": ssl.CERT_REQUIRED,\n'
                '        "ssl_check_hostname": True,\n',
                '        "ssl_cert_reqs": ssl.CERT_NONE,\n        "ssl_check_hostname": False,\n',
            ),
            edit(
                "worker/contract/tls.py",
                '    if parts.scheme != "rediss" or ca_file is None:\n',
                "    if True:\n",
            ),
        ),
        f"{_TLS}::test_a_wrong_certificate_of_redis_stops_the_start_and_gets_nothing",
        "worker/contract/test_tls.py::test_a_workers_celery_checks_the_certificate_of_redis",
    ),
    off(
        _SERVERS,
        "a look at the certificate of PostgreSQL",
        (
            edit(
                "portal/settings/tls.py",
                '        "sslmode": _CHECKED,\n',
                '        "sslmode": "require",\n',
            ),
            edit(
                "portal/settings/tls.py",
                "    if url is not None and url.host and _is_checked(settings, url):\n",
                "    if False:\n",
            ),
        ),
        f"{_TLS}::test_a_wrong_certificate_of_postgresql_stops_the_start_and_gets_nothing",
        postgres=True,
    ),
    off(
        _SERVERS,
        "the refusal of what leads libpq elsewhere",
        edit("portal/settings/tls.py", "        if environ.get(name):\n", "        if False:\n"),
        f"{_TLS}::test_what_leads_libpq_elsewhere_is_refused",
        postgres=True,
    ),
    off(
        _SERVERS,
        "the bucket's own word that a file is missing",
        edit(
            "portal/vault/blob_store.py",
            '            if code == _GONE and operation == "get_object":\n',
            '            if code in (_GONE, "404") and operation == "get_object":\n',
        ),
        "portal/vault/test_bucket_faults.py::"
        "test_only_the_servers_own_word_means_that_a_file_is_missing",
    ),
    off(
        _SERVERS,
        "an end of a bucket's listing that names its own next page",
        edit(
            "portal/vault/blob_store.py",
            "            if token == before_token:\n",
            "            if token == before_token and False:\n",
        ),
        "portal/vault/test_bucket_faults.py::test_a_listing_that_does_not_end_is_given_up",
    ),
    off(
        _WORKERS,
        "a limit of workers for one token",
        edit(
            "portal/jobs/workers.py",
            "MOST_PER_TOKEN: Final = 100\n",
            "MOST_PER_TOKEN: Final = 10**6\n",
        ),
        "portal/jobs/test_ledger.py::test_a_token_has_a_limited_number_of_workers",
        "portal/jobs/test_ledger.py::test_the_shared_token_has_a_limited_number_of_workers_too",
    ),
    off(
        _WORKERS,
        "one queue for one token",
        edit(
            "portal/jobs/claims.py",
            "    reached = kinds_of(token.queue) if token is not None else tuple(JobKind)\n",
            "    reached = tuple(JobKind)\n",
        ),
        "portal/jobs/test_worker_tokens.py::test_a_token_of_one_queue_claims_no_job_of_the_other",
    ),
    off(
        _CLAIMS,
        "a test for a line that says “holds”",
        edit(
            "docs/security.md",
            "| 26 | A wrong clock purges nothing",
            "| 25a | Nobody is ever kept waiting | holds | seen by hand |\n"
            "| 26 | A wrong clock purges nothing",
        ),
        "test_docs.py::test_what_holds_has_a_test",
        quick=True,
    ),
    off(
        _CLAIMS,
        "a test of the name that a line names",
        edit(
            "docs/security.md",
            "`portal/governance/test_purges.py::test_a_round_purges_twenty_at_most`,",
            "`portal/governance/test_purges.py::test_that_nobody_has_written`,",
        ),
        "test_docs.py::test_every_test_that_a_page_names_exists",
        quick=True,
    ),
    off(
        _CLAIMS,
        "a test for a finding of the trials",
        edit(
            "docs/trial.md",
            "`ml/images/test_shutter.py::test_what_is_outside_is_left_out_everywhere`, "
            "`browser/test_case.py::"
            "test_what_the_sender_hides_is_black_until_the_reader_asks_for_it`",
            "seen by hand",
        ),
        "test_docs.py::test_every_line_of_the_trials_has_a_test",
        quick=True,
    ),
    off(
        _CLAIMS,
        "the default that the operation guide states",
        edit(
            "portal/settings/variables.py",
            '"PLEURA_AUDIT_ANCHOR_MINUTES", 60,',
            '"PLEURA_AUDIT_ANCHOR_MINUTES", 30,',
        ),
        "test_docs.py::test_every_setting_of_the_portal_is_in_the_operation_guide",
        quick=True,
    ),
    off(
        _DICOM,
        "the address of a DICOM node",
        edit(
            "portal/dicom_network/admission.py",
            '    if not nodes.sends_from(found, caller.address):\n        return "address"\n',
            "",
        ),
        "portal/dicom_network/test_listener.py::"
        "test_who_is_not_known_is_refused_as_the_standard_has_it",
        quick=True,
    ),
    off(
        _DICOM,
        "the certificate of a DICOM node",
        edit(
            "portal/listeners/peers.py",
            "    return hashlib.sha256(certificate).hexdigest() == fingerprint\n",
            "    return True\n",
        ),
        "portal/dicom_network/test_listener.py::"
        "test_by_tls_a_node_shows_the_certificate_that_is_stated_of_it",
    ),
    off(
        _DICOM,
        "dropping a data set over the limit while it comes",
        edit(
            "portal/dicom_network/association.py",
            "        if self._data > most:\n",
            "        if self._data > most and False:\n",
        ),
        "portal/dicom_network/test_listener.py::test_a_data_set_over_the_limit_is_dropped_while_it_comes",
        "portal/dicom_network/test_listener.py::test_a_data_set_without_end_is_aborted",
    ),
    off(
        _DICOM,
        "that our own objects are never analysed",
        edit(
            "portal/dicom_network/storing.py",
            "    if found.made_here:\n",
            "    if False:\n",
        ),
        "portal/dicom_network/test_filed_objects.py::"
        "test_an_object_is_filed_to_its_exam_and_never_analysed",
        quick=True,
    ),
)
