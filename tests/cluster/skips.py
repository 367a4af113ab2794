"""Which tests are for one folder or one server alone, and skipped where databases or servers are others.

Everything that is skipped there is in this list, by the beginning of its name.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_FILE = "looks into the file of an SQLite database, breaks it, or speaks its SQL"
_FOLDER = "is about a folder with a database of its own"
_PROCESS = "runs processes on folders; tests/cluster has those on PostgreSQL"
_CONNECTION = "depends on connections to the server itself, which are nginx's here"
_TWO = "has an nginx that encrypts in front of this one, which says that nobody does"
_SLOW = "is about clients that stop in the middle, for which nginx has limits of its own"
_HOST = "sends what nginx refuses itself"
_ENDS = "ends a query within SQLite, when its client leaves; PostgreSQL goes on with it up to its limit"
_EACH = "counts what each worker bounds for itself"
_CONTENTS = (
    "looks into files of contents, which are in the store here, or into what a folder alone does later"
)

ON_POSTGRESQL = {
    "tests/rinocloud/test_long_listings.py": _FILE,
    "tests/rinocloud/test_query.py::test_names_that_are_no_parts_of_paths": _FILE,
    "tests/rinocloud/test_query.py::test_ten_thousand_objects_cost_few_requests": _FILE,
    "tests/rinocloud/test_reading.py::test_a_get_that_is_overtaken_is_whole": _FILE,
    "tests/rinocloud/test_reading.py::test_ranges_of_one_file_are_of_one_version": _FILE,
    "tests/rinocloud/test_reading.py::test_a_file_is_replaced_between_look_and_read": _FILE,
    "tests/repovizz/test_filesystem.py::test_a_document_with_flaws_is_read_if_it_can_be": _FILE,
    "tests/rinocloud/test_browsing.py::test_folders_whose_name_cannot_be_in_a_path": _FILE,
    "tests/rinocloud/test_browsing.py::test_names_that_cannot_be_in_a_path": _FILE,
    "tests/scenarios/rinocloud/test_budgets.py::test_cat_of_many": _FILE,
    "tests/scenarios/rinocloud/test_budgets.py::test_copy_of_a_whole_folder": _FILE,
    "tests/scenarios/rinocloud/test_budgets.py::test_find": _FILE,
    "tests/scenarios/rinocloud/test_budgets.py::test_ls_of_a_page": _FILE,
    "tests/scenarios/rinocloud/test_budgets.py::test_ls_of_ten_thousand": _FILE,
    "tests/scenarios/rinocloud/test_budgets.py::test_rm_of_many": _FILE,
    "tests/scenarios/server/": _PROCESS,
    "tests/scenarios/test_previous_release.py": _PROCESS,
    "tests/scenarios/test_sync.py::test_of_many_files_only_the_changed_ones_are_sent": _FILE,
    "tests/server/catalog/test_blob_rows.py::test_of_two_rows_of_a_content_the_one_with_its_blake3_is_used": (
        _FILE
    ),
    "tests/server/catalog/test_commits.py": _FILE,
    "tests/server/catalog/test_database.py": _FILE,
    "tests/server/catalog/test_idempotency.py::test_a_killed_server_remembers": _PROCESS,
    "tests/server/catalog/test_idempotency.py::test_answers_are_kept_for_a_day": _FILE,
    "tests/server/catalog/test_migrations.py": _FILE,
    "tests/server/catalog/test_store.py::test_a_file_is_looked_up_by_name_and_parent_in_an_index": _FILE,
    "tests/server/catalog/test_store.py::test_a_full_database_is_an_answer": _FILE,
    "tests/server/catalog/test_store.py::test_a_locked_database_is_an_answer_and_reading_goes_on": _FILE,
    "tests/server/catalog/test_store.py::test_listing_a_folder_reads_only_what_it_shows": _FILE,
    "tests/server/catalog/test_upgrade.py": _FOLDER,
    "tests/server/test_backups.py": _FOLDER,
    "tests/server/test_budgets.py::test_a_query_ends_when_its_client_leaves": _ENDS,
    "tests/server/test_budgets.py::test_queries_of_one_user_leave_room_for_others": _ENDS,
    "tests/server/test_budgets.py::test_who_sends_too_much_at_once_is_told_when_to_come_back": _ENDS,
    "tests/server/test_copy_blobs.py": _FOLDER,
    "tests/server/test_folder.py": _FOLDER,
    "tests/server/test_full_disk.py": _FOLDER,
    "tests/server/test_logs.py::test_logs_answer_and_error_name_a_request_alike": _FILE,
    "tests/server/test_maintenance.py::test_collecting_in_two_processes_never_takes_what_was_acknowledged": (
        _PROCESS
    ),
    "tests/server/test_maintenance.py::test_rows_that_make_no_sense_are_named": _FILE,
    "tests/server/test_readiness.py": _FILE,
    "tests/server/test_s3_serving.py::test_contents_are_in_the_bucket_and_the_rest_in_the_folder": _PROCESS,
    "tests/server/test_s3_serving.py::test_what_is_deleted_leaves_the_bucket_after_the_delay": _PROCESS,
    "tests/server/test_serve.py": _PROCESS,
    "tests/server/test_shutdown.py": _PROCESS,
}

BEHIND_NGINX = {
    "tests/rinocloud/test_browsing.py::test_trouble_is_not_absence": _CONNECTION,
    "tests/rinocloud/test_changing.py::test_what_is_sent_again_undoes_nothing_of_others": _CONNECTION,
    "tests/rinocloud/test_parallel_ranges.py::test_what_is_damaged_in_a_part_is_found": _CONTENTS,
    "tests/rinocloud/test_reading.py::test_damaged_content_is_refused": _CONTENTS,
    "tests/server/api/repovizz/test_endpoints.py::test_the_same_content_is_stored_once": _CONTENTS,
    "tests/server/catalog/test_idempotency.py::test_a_lost_answer_can_be_asked_for_again": _CONNECTION,
    "tests/server/test_budgets.py::test_bodies_that_are_kept_in_memory_are_bounded": _EACH,
    "tests/server/test_growth.py::test_whatever_is_named_in_the_code": _CONNECTION,
    "tests/server/test_nginx.py::test_files_datapacks_and_logins": _TWO,
    "tests/server/web/test_connections.py::test_one_address_leaves_room_for_others": _CONNECTION,
    "tests/server/test_sha256.py::test_it_comes_later_and_nothing_else_changes": _CONTENTS,
    "tests/server/web/test_connections.py::test_the_oldest_idle_connection_makes_room": _CONNECTION,
    "tests/server/web/test_guard.py": _SLOW,
    "tests/server/web/test_hosts.py::test_whoever_checks_the_health_needs_no_name[hosts1]": _HOST,
    "tests/server/web/test_hosts.py::test_whoever_checks_the_health_needs_no_name[hosts2]": _HOST,
    "tests/server/web/test_hosts.py::test_whoever_checks_the_health_needs_no_name[hosts4]": _HOST,
}


def skipped() -> dict[str, str]:
    """Return beginnings of names of tests that are skipped, with the reasons."""
    return dict(_skipped())


def _skipped() -> Iterator[tuple[str, str]]:
    if os.environ.get("RINOFS_TEST_DATABASE") == "postgresql":
        yield from ON_POSTGRESQL.items()
    if int(os.environ.get("RINOFS_TEST_WORKERS", "1")) > 1:
        yield from BEHIND_NGINX.items()
