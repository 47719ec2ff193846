"""``audit``: say what is wrong with a data set, on one page."""

from ferdata.audit.options import AuditOptions
from ferdata.console.options import FileOut, Findings, Folder, Given, Json, write_json
from ferdata.console.screen import console, pairs, phases_bar
from ferdata.store import write_file_at

__all__ = ["audit"]


def audit(
    folder: Folder,
    asked: Given[AuditOptions],
    out: FileOut = "audit.html",
    table: Findings = None,
    json_file: Json = None,
) -> None:
    """Audit, write and print."""
    from ferdata.audit import audit as run
    from ferdata.audit import render_audit

    with phases_bar() as say:
        found = run(asked.build(shards=folder), say=say)
    write_file_at(out, render_audit(found).encode())
    if table is not None:
        write_file_at(table, found.to_csv().encode())
    write_json(json_file, found.to_json())
    rows = {finding.title: f"{len(finding.rows):,}" for finding in found.findings if finding.rows}
    pairs(f"{found.about.root}: {len(found.survey):,} samples", rows | {"Rejected by shard": f"{len(found.rejects):,}"})
    console.print(f"wrote {out}")
