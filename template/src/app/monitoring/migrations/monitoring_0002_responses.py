"""What was answered: how long, how well, and how it was rated."""

from alembic import op

revision = "monitoring_0002"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE monitoring.responses (
            id text PRIMARY KEY,
            principal text NOT NULL,
            feature text NOT NULL,
            model text NOT NULL,
            prompt text NOT NULL,
            prompt_version text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            input_chars int NOT NULL,
            output_chars int NOT NULL,
            refused boolean NOT NULL,
            scores jsonb NOT NULL,
            rating text,
            comment text,
            topic real[],
            request text,
            response text
        )""")
    op.execute("CREATE INDEX ON monitoring.responses (created_at)")
