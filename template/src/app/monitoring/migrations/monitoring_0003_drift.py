"""What each comparison of a window with a reference found."""

from alembic import op

revision = "monitoring_0003"
down_revision = "monitoring_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE monitoring.drift (
            -- When the window ended.
            until timestamptz PRIMARY KEY,
            report jsonb NOT NULL
        )""")
