"""Replaced by that of the ledger when the branches meet."""

revision = "monitoring_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass
