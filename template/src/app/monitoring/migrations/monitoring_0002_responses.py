"""What callers got, how good it was, and what they said of it."""

from alembic import op

revision = "monitoring_0002"
down_revision = "monitoring_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE monitoring.responses (
            -- As the caller knows it.
            id text PRIMARY KEY,
            principal text,
            feature text NOT NULL,
            model text NOT NULL,
            prompt text NOT NULL,
            prompt_version text NOT NULL,
            created_at timestamptz NOT NULL,
            input_chars int NOT NULL,
            output_chars int NOT NULL,
            refused boolean NOT NULL,
            -- Check -> score from 0 to 1.
            scores jsonb NOT NULL,
            rating text CHECK (rating IN ('up', 'down')),
            comment text,
            -- What the request is about, as numbers.
            topic real[],
            -- Redacted, and only where content is captured: a JSON list of what the user wrote, a
            -- text a message, and what was answered.
            request text,
            response text
        )""")
    op.execute("CREATE INDEX ON monitoring.responses (created_at)")
