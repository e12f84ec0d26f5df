"""Runs, their events and approvals, and the conversations that they belong to."""

from alembic import op

revision = "agent_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE agent.conversations (
            principal text,
            id text,
            -- Messages as pydantic-ai writes them.
            messages text NOT NULL,
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (principal, id)
        )""")
    op.execute("CREATE INDEX ON agent.conversations (updated_at)")
    op.execute("""
        CREATE TABLE agent.runs (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            principal text NOT NULL,
            idempotency_key text,
            -- Of what was asked for: the same key with another one is a mistake.
            request_hash text NOT NULL,
            agent text NOT NULL,
            input text NOT NULL,
            conversation_id text,
            status text NOT NULL DEFAULT 'queued',
            -- A run is worked on in legs: each ends where people have to decide.
            leg int NOT NULL DEFAULT 1,
            attempts int NOT NULL DEFAULT 0,
            last_event int NOT NULL DEFAULT 0,
            -- Messages up to the end of the leg before, and what they took.
            history text,
            usage jsonb NOT NULL DEFAULT '{}',
            -- Each with its leg; those that are not decided by then count as denied.
            approvals jsonb NOT NULL DEFAULT '[]',
            expires_at timestamptz,
            output text NOT NULL DEFAULT '',
            error text,
            created_at timestamptz NOT NULL DEFAULT now(),
            started_at timestamptz,
            ended_at timestamptz,
            UNIQUE (principal, idempotency_key)
        )""")
    op.execute("CREATE INDEX ON agent.runs (principal, created_at DESC, id DESC)")
    op.execute("CREATE INDEX ON agent.runs (ended_at)")
    op.execute("CREATE INDEX ON agent.runs (expires_at) WHERE status = 'waiting_for_approval'")
    op.execute("""
        CREATE INDEX ON agent.runs (principal)
        WHERE status IN ('queued', 'running', 'waiting_for_approval')""")
    op.execute("""
        CREATE TABLE agent.events (
            run_id uuid REFERENCES agent.runs ON DELETE CASCADE,
            id int,
            -- The same wherever the same is written twice, because a process ended.
            key text NOT NULL,
            kind text NOT NULL,
            data jsonb NOT NULL,
            PRIMARY KEY (run_id, id),
            UNIQUE (run_id, key)
        )""")
