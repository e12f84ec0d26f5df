"""The ledger of calls, what each day has cost, and what of it is only reserved."""

from alembic import op

revision = "monitoring_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE monitoring.calls (
            id uuid PRIMARY KEY,
            -- What the caller got: the id of an answer, or of a run.
            response_id text,
            principal text,
            feature text,
            prompt text,
            prompt_version text,
            provider text NOT NULL,
            model text NOT NULL,
            answered_by text,
            started_at timestamptz NOT NULL,
            seconds double precision,
            -- None while it goes on.
            outcome text,
            input_tokens bigint NOT NULL,
            output_tokens bigint NOT NULL,
            cache_read_tokens bigint NOT NULL,
            cache_write_tokens bigint NOT NULL,
            reasoning_tokens bigint NOT NULL,
            -- Nobody reported what it took, or not all of it.
            estimated boolean NOT NULL,
            cost_usd numeric,
            price_list text
        )""")
    op.execute("CREATE INDEX ON monitoring.calls (started_at)")
    op.execute("CREATE INDEX ON monitoring.calls (principal, started_at)")
    op.execute("CREATE INDEX ON monitoring.calls (response_id)")
    op.execute("CREATE INDEX ON monitoring.calls (started_at) WHERE outcome IS NULL")
    op.execute("""
        CREATE TABLE monitoring.spending (
            day date,
            -- Empty for all together.
            principal text,
            -- Spent or reserved.
            usd numeric NOT NULL,
            PRIMARY KEY (day, principal)
        )""")
    op.execute("""
        CREATE TABLE monitoring.reservations (
            -- The call's.
            id uuid PRIMARY KEY,
            day date NOT NULL,
            principal text,
            usd numeric NOT NULL,
            expires_at timestamptz NOT NULL
        )""")
    op.execute("CREATE INDEX ON monitoring.reservations (expires_at)")
