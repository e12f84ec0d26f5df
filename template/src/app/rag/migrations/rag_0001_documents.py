"""Documents, the chunks they are searched by, and the generations of that index."""

from alembic import op

revision = "rag_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS vector")
    # What all chunks of one index share: vectors of two models cannot be compared.
    op.execute("""
        CREATE TABLE rag.generations (
            id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            model text NOT NULL,
            dimensions int NOT NULL,
            language text NOT NULL,
            is_active boolean NOT NULL DEFAULT false
        )""")
    op.execute("CREATE UNIQUE INDEX ON rag.generations (is_active) WHERE is_active")
    op.execute("""
        CREATE TABLE rag.documents (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            principal text NOT NULL,
            -- Given by the caller, or the hash of the content.
            source_id text NOT NULL,
            -- The newest one that was given in.
            version int NOT NULL DEFAULT 0,
            created_at timestamptz NOT NULL DEFAULT now(),
            UNIQUE (principal, source_id)
        )""")
    op.execute("""
        CREATE TABLE rag.versions (
            document_id uuid REFERENCES rag.documents ON DELETE CASCADE,
            version int,
            hash text NOT NULL,
            title text NOT NULL,
            media_type text NOT NULL,
            metadata jsonb NOT NULL,
            -- As it came; gone once there is the text.
            content bytea,
            text text,
            status text NOT NULL DEFAULT 'queued',
            stage text NOT NULL DEFAULT 'queued',
            error text,
            attempts int NOT NULL DEFAULT 0,
            PRIMARY KEY (document_id, version)
        )""")
    # What is being made of a version: it moves to `chunks` as a whole, or not at all.
    op.execute("""
        CREATE TABLE rag.staged_chunks (
            document_id uuid,
            version int,
            generation int REFERENCES rag.generations ON DELETE CASCADE,
            position int,
            headings text[] NOT NULL,
            starts_at int NOT NULL,
            ends_at int NOT NULL,
            text text NOT NULL,
            splitter text NOT NULL,
            embedding halfvec,
            PRIMARY KEY (document_id, version, generation, position),
            FOREIGN KEY (document_id, version) REFERENCES rag.versions ON DELETE CASCADE
        )""")
    op.execute("""
        CREATE TABLE rag.chunks (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            document_id uuid NOT NULL,
            version int NOT NULL,
            generation int NOT NULL REFERENCES rag.generations ON DELETE CASCADE,
            principal text NOT NULL,
            hash text NOT NULL,
            splitter text NOT NULL,
            metadata jsonb NOT NULL,
            position int NOT NULL,
            headings text[] NOT NULL,
            starts_at int NOT NULL,
            ends_at int NOT NULL,
            text text NOT NULL,
            words tsvector NOT NULL,
            embedding halfvec NOT NULL,
            FOREIGN KEY (document_id, version) REFERENCES rag.versions ON DELETE CASCADE
        )""")
    # Beside the row and not in pages of their own, where each that is ranked is read one by one.
    op.execute("ALTER TABLE rag.chunks ALTER words SET STORAGE MAIN")
    op.execute("CREATE INDEX ON rag.chunks (document_id, version)")
    op.execute("CREATE INDEX ON rag.chunks (principal, generation)")
    op.execute("CREATE INDEX ON rag.chunks USING gin (metadata jsonb_path_ops)")
    op.execute("CREATE INDEX ON rag.chunks USING gin (words)")
