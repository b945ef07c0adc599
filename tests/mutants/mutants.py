#!/usr/bin/env python3
"""Plants one bug at a time and sees that a test catches it.

Each mutant is one exact replacement in one file and the test that must then fail. Works in a copy of the tree with a build directory
of its own, so that nothing here is touched. `make mutants` runs all; `make mutants ONLY=word` those whose name holds the word.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# name, file, what stands there, what stands there instead, the test that must fail
MUTANTS = [
    ("commit before the source is durable", "src/postgres/apply.rs",
     "written.and_then(|applied| hardened.map(|()| applied))", "written.inspect(|_| drop(hardened))",
     "--test it apply::nothing_is_committed"),
    ("a COMMIT behind its statements does not wait for the source", "src/postgres/apply/ahead.rs",
     "                durable.await?;\n                pipeline", "                drop(durable);\n                pipeline",
     "--test it apply::nothing_is_committed"),
    ("a batch behind another does not wait for the source", "src/postgres/apply/ahead.rs",
     "                durable.await?;\n                pipeline", "                if self.lane.is_clear() {\n                    durable.await?;\n                }\n                pipeline",
     "--test it apply::under_way::a_batch_waits"),
    ("a single row does not wait for the source", "src/postgres/apply/ahead.rs",
     "                durable.await?;\n                let what", "                drop(durable);\n                let what",
     "--test it apply::single::a_position_elsewhere"),
    ("a single row is written though the position has moved", "src/postgres/apply/sql.rs",
     "select 1 / count(*) from moved", "select count(*) from moved",
     "--test it apply::single"),
    ("a row that was not written is not missed", "src/postgres/apply/sql.rs",
     "select 1 / count(*) from written", "select count(*) from written",
     "--test it apply::single::a_row_that"),
    ("a batch overtakes what was sent ahead", "src/postgres/apply.rs",
     "filter(|ahead| !ahead.lane.is_clear())", "filter(|_| false)",
     "--test it apply::single::rows_and_batches"),
    ("a session whose COMMIT was refused is kept", "src/postgres/apply/ahead.rs",
     "batch_execute(\"select\")", "batch_execute(\"\")",
     "--test it apply::begun::a_commit_that"),
    ("the ledger keeps what a single row has mended", "src/postgres/apply/ahead.rs",
     "\n            && !writer.table(&changed.route).ledger", "",
     "--test it apply::single::what_is_refused"),
    ("rows sent ahead behind a BEGIN that failed are written", "src/postgres/apply/sql.rs",
     "from touched where {BEGUN}", "from touched",
     "--test it apply::begun::a_few_changes"),
    ("deletes sent ahead behind a BEGIN that failed are done", "src/postgres/apply/sql.rs",
     "{statement} and {BEGUN}", "{statement}",
     "--test it apply::begun::a_few_changes"),
    ("a quick disk is not waited for", "src/sqlite/changes.rs",
     "            return self.shared.hardener.harden();\n", "            return Ok(());\n",
     "--test it postgres_has_no_change"),
    ("a -wal file that is known is not synced", "src/sqlite/harden.rs",
     "            return wal.file.sync_data();\n", "            return Ok(());\n",
     "--test it power_cut"),
    ("a batch without an answer counts as refused", "src/postgres/apply/lane.rs",
     "                Err(fault) if fault.class == FaultClass::Unknown => {\n", "                Err(fault) if false => {\n",
     "--test it apply::under_way::what_became"),
    ("a refused batch is not taken again", "src/flow/follow.rs",
     "(BATCH_REFUSED, _) if self.sending == Sending::Ahead => {", "(BATCH_REFUSED, _) if false => {",
     "--test it apply::under_way::a_daemon_far_away"),
    ("what is under way counts as applied", "src/engine/daemon/voice.rs",
     "applied.map_or(0, |at| known.newest.seq - at.seq).max(known.waiting)", "known.waiting.max(0 * applied.map_or(0, |at| at.seq))",
     "--test it apply::under_way::a_daemon_far_away"),
    ("a statement that touched nothing does not fail", "src/postgres/apply/sql.rs",
     "select 1 / count(*) from touched", "select count(*) from touched",
     "--test it apply::rows_that_a_trigger_swallows"),
    ("staged commit before the source is durable", "src/postgres/apply.rs",
     "                hardened?;\n", "                drop(hardened);\n",
     "--test it apply::nothing_is_committed"),
    ("position without its owner", "src/postgres/apply/writer.rs",
     "and owner = $2 and epoch = $6", "and $2 = $2 and epoch = $6",
     "--test it apply::a_position_that_is_not_ours"),
    ("position without its nonce", "src/postgres/apply/writer.rs",
     "and seq = $7 and nonce = $8", "and seq = $7 and $8 = $8",
     "--test it apply::a_position_that_is_not_ours"),
    ("statements behind a BEGIN that failed commit by themselves", "src/postgres/apply/writer.rs",
     "\"set default_transaction_read_only = on\"", "\"select\"",
     "--test it apply::begun::outside_of_a_transaction"),
    ("a server that was turned read-only is written", "src/postgres/apply/writer.rs",
     "    and current_setting('default_transaction_read_only') = 'off'\";", "    and true\";",
     "--test it apply::begun::a_server_that_turns"),
    ("rows not counted", "src/postgres/apply/staged.rs",
     "Ok(inserted) if inserted == gathered.rows => {", "Ok(_) if gathered.rows > 0 || true => {",
     "--test it apply::rows_that_a_trigger_swallows"),
    ("a range begins anew after each chunk", "src/flow/backfill.rs",
     "        range.after = chunk.last_key;\n", "",
     "--test sim"),
    ("no nonce in the history", "src/sqlite/history.rs",
     "(Some(newest), Some(at)) if at == from => Ok(newest)", "(Some(newest), Some(at)) if at.seq == from.seq => Ok(newest)",
     "--test it follow::another_history"),
    ("a replaced file is not noticed", "src/sqlite/changes.rs",
     "        self.identity.confirm(&self.file)?;\n", "",
     "--test it follow::a_file_put_in_the_place"),
    ("schema changes are not noticed", "src/sqlite/changes/schema.rs",
     "schema_digest(&reader.db)? != expected.schema || !captured()?", "!captured()?",
     "--test it follow::schema_changes"),
    ("lost triggers are not noticed", "src/sqlite/changes/schema.rs",
     "schema_digest(&reader.db)? != expected.schema || !captured()?", "schema_digest(&reader.db)? != expected.schema",
     "--test it follow::what_takes_capture_away"),
    ("what was changed and changed back is not noticed", "src/sqlite/changes/schema.rs",
     "state.has_leapt |= leaps;", "",
     "--test it unseen::rows_that_a_schema_change"),
    ("a key found by SQLite's own comparison", "src/sqlite/lookup.rs",
     "all(|(column, wanted)| cell(row, *column) == wanted.as_cell())", "all(|(column, wanted)| cell(row, *column).class() == wanted.as_cell().class())",
     "--test it follow::every_change"),
    ("an idle connection stays", "src/engine/daemon/follow.rs",
     "{ self.retire(&wake, course.at).await? } else { None }", "{ Some(wake.look()) } else { None }",
     "--test it follow::every_change"),
    ("no claim", "src/postgres/claim.rs",
     "where pg_try_advisory_xact_lock(", "where true or pg_try_advisory_xact_lock(",
     "--test it follow::a_second_daemon"),
    ("the ledger never forgets", "src/postgres/apply/small.rs",
     "        pipeline.send(What::ForgetEntries, hand.forget_entries(changed)).await;\n", "        drop(hand.forget_entries(changed));\n",
     "--test it follow::a_value_that_comes_later"),
    ("the lag stands still while the target is away", "src/engine/daemon/mod.rs",
     "        voice.look_at_source().await;\n", "",
     "--test it follow::the_lag_grows"),
    ("the newest change is pruned", "src/sqlite/capture/mod.rs",
     "and seq < (select max(seq) from {CHANGE}) \\", "\\",
     "--test it capture::"),
    ("keys that differ in class alone are one", "src/plan/capture/triggers.rs",
     "                    terms.push(format!(\"typeof({old})<>typeof({new})\"));\n", "",
     "--test it capture::"),
    ("a probe without the index's collation", "src/plan/capture/probe.rs",
     "false => format!(\" collate {collation}\"),", "false => { let _ = &collation; String::new() }",
     "--test it capture::"),
    ("a key that does not cross exactly is looked up", "src/plan/packer.rs",
     "            Fit::Exact => {}\n", "            Fit::Exact | Fit::Kept(_) => {}\n",
     "--lib plan::packer"),
    ("chunks before the source has them on disk", "src/sqlite/source.rs",
     "        self.hardener.harden()?;\n", "",
     "--lib sqlite::source"),
    ("a part's refused rows go to the ledger", "src/postgres/apply/staged.rs",
     "                Extent::Part => Err(part_refused(&doing).with_source(fault)),\n                Extent::Whole => {",
     "                Extent::Part | Extent::Whole => {",
     "--test it apply::a_refused_row_of_a_part"),
    ("a table is emptied under a comparison", "src/engine/daemon/flight.rs",
     "            && !verifying.is_comparing()\n", "",
     "--test it renewed::"),
    ("a table is emptied for changes of few rows", "src/sqlite/changes/renewal.rs",
     "different_keys(db, id, (from, to))? * 5 / 2 >= of_table", "changes * 5 / 2 >= of_table",
     "--test it renewed::most_of"),
    ("what the ledger had of an emptied table stays", "src/postgres/apply/renewal.rs",
     "[ledger::DELETE_OUTDATED, ledger::DELETE_REPEATED]", "[ledger::DELETE_REPEATED]",
     "--test it renewed::the_ledger"),
    ("what was accepted of an emptied table is asked again", "src/postgres/apply/renewal.rs",
     "[ledger::DELETE_OUTDATED, ledger::DELETE_REPEATED]", "[ledger::DELETE_OUTDATED]",
     "--test it renewed::the_ledger"),
    ("SQLite is closed without guards", "src/sqlite/capture/fence.rs",
     "            run(&self.db, doing, &guard.sql)?;\n", "            drop(guard);\n",
     "--test it switch::"),
    ("a changed cell keeps its digest", "src/diff/digest.rs",
     "                    hasher.update(bytes);\n", "                    hasher.update(&vec![0; bytes.len()]);\n",
     "--test it proof::"),
    ("the schema is not looked at under the fence", "src/sqlite/changes.rs",
     "nothing else would tell.\n        self.confirm_schema(&mut reader)?;\n", "nothing else would tell.\n",
     "--test it crossing::a_migration_that_runs"),
    ("a cleanup waits without a bound", "src/engine/daemon/clean.rs",
     "begin; set local lock_timeout = '500ms'", "begin",
     "--test it crossing::a_cleanup_waits"),
    ("no look for a commit that comes late", "src/engine/daemon/follow.rs",
     " || late.is_due(Instant::now())", "",
     "--test it follow::a_commit_that"),
    ("an empty column keeps the form it was given", "src/engine/daemon/follow.rs",
     "if (idle || course.doubts.have_waited())", "if false && (idle || course.doubts.have_waited())",
     "--test it spelt"),
    ("a batch is not brought to SQLite's disk on the way back", "src/sqlite/apply.rs",
     "match hardener.harden() {", "drop(hardener);\n            match Ok::<(), Fault>(()) {",
     "--test it postgres_forgets_nothing_that"),
    ("PostgreSQL forgets before SQLite's disk has it", "src/postgres/changes.rs",
     "        on_disk.holds(open.head.to.seq).await?;\n", "        let _ = on_disk;\n",
     "--test it disk_has_it"),
    ("SQLite takes what PostgreSQL may lose", "src/postgres/changes.rs",
     "set_config('synchronous_commit', 'on', true)", "set_config('synchronous_commit', 'off', true)",
     "--test it sqlite_takes_nothing"),
    ("a table may be emptied before a batch comes to it", "src/postgres/changes/turn.rs",
     "        if names.is_empty() {\n", "        if true || names.is_empty() {\n",
     "--test it whose_turn_has_not_come"),
    ("PostgreSQL's history is that of its mark alone", "src/postgres/changes/turn.rs",
     "stood.seq + 1 != from.seq || before != Some(stood.nonce)", "stood.seq + 1 != from.seq",
     "--test it two_histories"),
    ("SQLite is written whatever its schema", "src/sqlite/apply.rs",
     "        if schema_digest(db)? != expected {", "        if false && schema_digest(db)? != expected {",
     "--test it schema_of_sqlites"),
    ("SQLite commits what PostgreSQL's disk has refused", "src/sqlite/apply.rs",
     "if may_go_on.blocking_recv().is_err() || tell.is_closed() {",
     "let _ = may_go_on.blocking_recv();\n            if tell.is_closed() {",
     "--test it disk_of_postgres_refuses"),
    ("a row that stands in the ledger alone is gone", "src/postgres/changes/reading.rs",
     "            if of_row.iter().any(|entry| entry.held) {", "            if false && of_row.iter().any(|entry| entry.held) {",
     "--test it stands_in_the_ledger_alone"),
    ("nobody empties the log after the switch", "src/engine/daemon/back.rs",
     "                self.applier.empty_log().await?;\n", "",
     "--test it switch::the_log_stays"),
    ("a rollback holds on to tables while a writer waits for one", "src/engine/daemon/crossing/rollback.rs",
     "&& wait < left =>", "&& wait > left =>",
     "--test it switch::a_rollback_lets_a_writer"),
    ("an archive is damaged where a full text index is behind", "src/sqlite/backup.rs",
     "Ok(Some(_)) | Err(_) => tables_are_whole(&db).map_err(failed)?,", "Ok(Some(_)) | Err(_) => false,",
     "--lib sqlite::backup"),
    ("an archive whose pages are damaged is kept", "src/sqlite/backup.rs",
     "complaint.starts_with(OF_TREES)", "complaint.starts_with(\"?\")",
     "--lib sqlite::backup"),
    ("what a migration took away goes on refusing rows", "src/journal/reshape.rs",
     "for turnover in reshaping.turnovers {", "for turnover in &reshaping.turnovers[..0] {",
     "--test it rules::what_a_migration_takes_away"),
    ("an index that a migration brought is never made", "src/engine/daemon/follow.rs",
     "self.add_rules(&mut course, &verifying).await?", "false",
     "--test it rules::what_a_migration_brings"),
    ("a renamed column has its indexes made anew", "src/engine/daemon/reshape.rs",
     "names.get(name).copied().unwrap_or(name)", "names.get(name).map_or(name, |_| name)",
     "--test it rules::what_stays"),
]


def misplaced() -> int:
    """Names those whose text does not stand exactly once where it is to be replaced."""
    lost = [name for name, file, old, _, _ in MUTANTS if (ROOT / file).read_text().count(old) != 1]
    for name in lost:
        print(f"{name}: mend the list")
    return 1 if lost else 0


def main() -> int:
    only = os.environ.get("ONLY", "")
    chosen = [mutant for mutant in MUTANTS if only in mutant[0]]
    survivors = []
    with tempfile.TemporaryDirectory(prefix="liteferry-mutants-") as scratch:
        tree = Path(scratch) / "tree"
        files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        for name in filter(None, files.decode().split("\0")):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
        # A planted bug is waited for in vain more often than not.
        environment = dict(os.environ, CARGO_TARGET_DIR=str(ROOT / "target" / "mutants"), LITEFERRY_PATIENCE="60")
        for name, file, old, new, test in chosen:
            path = tree / file
            whole = path.read_text()
            if whole.count(old) != 1:
                survivors.append(name)
                print(f"{name}: stands {whole.count(old)} times in {file}; mend the list", flush=True)
                continue
            path.write_text(whole.replace(old, new))
            began = time.monotonic()
            command = ["cargo", "test", "--quiet", *test.split()]
            done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
            path.write_text(whole)
            built = "test result" in done.stdout
            caught = built and done.returncode != 0
            verdict = "caught" if caught else "does not build" if not built else "SURVIVED"
            print(f"{name}: {verdict} in {time.monotonic() - began:.0f} s ({test})", flush=True)
            if not built:
                print(done.stderr[-2000:])
            if not caught:
                survivors.append(name)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} planted bugs were caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(misplaced() if sys.argv[1:] == ["--places"] else main())
