"""Contents in a table of their own, by keys of the store."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the change. Contents so far keep the names that their files have: their SHA-256."""
    op.create_table(
        "blobs",
        sa.Column("id", _ID, nullable=False),
        sa.Column("blake3", sa.Text),
        sa.Column("sha256", sa.Text),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_blobs"),
        sa.UniqueConstraint("blake3", name="uq_blobs_blake3"),
        sa.UniqueConstraint("key", name="uq_blobs_key"),
        sqlite_autoincrement=True,
    )
    # What contradicts itself is not lost: objects keep what they say of their contents, and fsck compares.
    op.execute(
        "INSERT INTO blobs (sha256, size, etag, key) "
        "SELECT sha256, max(coalesce(size, 0)), max(coalesce(etag, '')), sha256 FROM "
        "(SELECT sha256, size, etag FROM objects UNION ALL SELECT sha256, size, etag FROM datapack_contents) "
        "AS contents WHERE sha256 IS NOT NULL GROUP BY sha256 ORDER BY sha256"
    )
    op.create_index("ix_blobs_sha256", "blobs", ["sha256"])
    _refer_from_objects()
    _refer_from_datapacks()


def _refer_from_objects() -> None:
    # Alembic would make the table anew for this, and so look at every reference to it.
    kind = _ID.compile(dialect=op.get_bind().dialect)
    op.execute(f"ALTER TABLE objects ADD COLUMN blob {kind} CONSTRAINT fk_objects_blob REFERENCES blobs (id)")
    op.execute(
        "UPDATE objects SET blob = (SELECT id FROM blobs WHERE blobs.key = objects.sha256) "
        "WHERE sha256 IS NOT NULL"
    )
    op.create_index("ix_objects_blob", "objects", ["blob"])
    op.drop_index("ix_objects_sha256", "objects")
    op.drop_column("objects", "sha256")


def _refer_from_datapacks() -> None:
    op.add_column("datapack_contents", sa.Column("blob", _ID))
    op.execute(
        "UPDATE datapack_contents SET blob = "
        "(SELECT id FROM blobs WHERE blobs.key = datapack_contents.sha256)"
    )
    op.drop_index("ix_datapack_contents_sha256", "datapack_contents")
    with op.batch_alter_table("datapack_contents") as contents:
        contents.alter_column("blob", existing_type=_ID, nullable=False)
        contents.create_foreign_key("fk_datapack_contents_blob", "blobs", ["blob"], ["id"])
        contents.create_index("ix_datapack_contents_blob", ["blob"])
        contents.drop_column("sha256")


def _drop_reference() -> None:
    """Drop a column that refers to another table, which SQLite can do only by making the table anew."""
    bind = op.get_bind()
    if bind.dialect.name != "sqlite":
        op.drop_column("objects", "blob")
        return
    bind.execute(sa.text("PRAGMA defer_foreign_keys = ON"))  # rows refer to others that come later
    kept = [column["name"] for column in sa.inspect(bind).get_columns("objects") if column["name"] != "blob"]
    old = sa.Table("objects", sa.MetaData(), autoload_with=bind, include_columns=kept)
    # Its rows refer to each other, not to those of the old one, which can go.
    others = sa.MetaData()
    sa.Table("users", others, autoload_with=bind)
    new = old.to_metadata(others, name="objects_before")
    new.dialect_options["sqlite"]["autoincrement"] = True
    indexes, new.indexes = set(new.indexes), set()
    new.create(bind)
    bind.execute(new.insert().from_select(kept, sa.select(old)))
    old.drop(bind)
    op.rename_table("objects_before", "objects")
    for index in indexes:
        where = index.dialect_options["sqlite"]["where"]
        columns = [column.name for column in index.columns]
        op.create_index(index.name, "objects", columns, unique=bool(index.unique), sqlite_where=where)


def downgrade() -> None:
    """Take the change back, unless contents have names by which the version before would not find them."""
    if op.get_bind().scalar(sa.text("SELECT count(*) FROM blobs WHERE sha256 IS NULL OR key <> sha256")):
        raise RuntimeError("contents were stored since that the version before cannot read")
    op.add_column("objects", sa.Column("sha256", sa.Text))
    op.execute("UPDATE objects SET sha256 = (SELECT key FROM blobs WHERE blobs.id = objects.blob)")
    op.drop_index("ix_objects_blob", "objects")
    _drop_reference()
    op.create_index("ix_objects_sha256", "objects", ["sha256"])
    op.add_column("datapack_contents", sa.Column("sha256", sa.Text))
    op.execute(
        "UPDATE datapack_contents SET sha256 = "
        "(SELECT key FROM blobs WHERE blobs.id = datapack_contents.blob)"
    )
    with op.batch_alter_table("datapack_contents") as contents:
        contents.alter_column("sha256", existing_type=sa.Text(), nullable=False)
        contents.drop_index("ix_datapack_contents_blob")
        contents.drop_constraint("fk_datapack_contents_blob", type_="foreignkey")
        contents.drop_column("blob")
        contents.create_index("ix_datapack_contents_sha256", ["sha256"])
    op.drop_table("blobs")
