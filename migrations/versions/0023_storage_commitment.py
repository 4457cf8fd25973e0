"""What a PACS was asked to keep, and what it reported."""

from alembic import op

from db.schema.impact import Impact, Kind

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None
impact = Impact(Kind.EXPAND)


def upgrade() -> None:
    op.execute("""
        CREATE TABLE storage_commitment (
            transaction_uid   text NOT NULL,
            delivery_id       bigint NOT NULL,
            sop_instance_uids text[] NOT NULL,
            asked_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
            is_awaited        boolean NOT NULL DEFAULT false,
            reported_at       timestamptz,
            failure_reasons   integer[] NOT NULL DEFAULT '{}',
            left_out          integer NOT NULL DEFAULT 0,
            CONSTRAINT pk_storage_commitment PRIMARY KEY (transaction_uid)
        );
        CREATE INDEX ix_storage_commitment_delivery_id ON storage_commitment (delivery_id);
        COMMENT ON TABLE storage_commitment IS
            'What a PACS was asked to keep for a delivery (DICOM storage commitment), and what it reported';
        REVOKE ALL ON storage_commitment FROM PUBLIC;
        GRANT SELECT, INSERT, UPDATE ON storage_commitment TO dlr_writer;
    """)


def downgrade() -> None:
    op.execute("DROP TABLE storage_commitment")
