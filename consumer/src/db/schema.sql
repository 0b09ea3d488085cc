-- One file holds the embedded queue and the embedded store's index, so that an object and its message appear together.
-- Times are Unix milliseconds. A change here is a new user_version and a migration.

CREATE TABLE messages (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id TEXT    NOT NULL UNIQUE,
    queue      TEXT    NOT NULL,
    body       TEXT    NOT NULL,
    dedup_id   TEXT,
    sent_at    INTEGER NOT NULL,
    visible_at INTEGER NOT NULL,              -- in flight: when the lease expires
    receives   INTEGER NOT NULL DEFAULT 0,
    uncounted  INTEGER NOT NULL DEFAULT 0,    -- of these, released without counting
    receipt    TEXT    UNIQUE,                -- of the latest delivery, until it is settled
    dead_at    INTEGER,
    reason     TEXT                           -- JobError as JSON
) STRICT;
CREATE INDEX messages_visible ON messages (queue, visible_at) WHERE dead_at IS NULL;
CREATE INDEX messages_sent ON messages (queue, sent_at, dead_at) WHERE dead_at IS NULL; -- `dead_at` covers the count
CREATE UNIQUE INDEX messages_dedup ON messages (queue, dedup_id) WHERE dead_at IS NULL AND dedup_id IS NOT NULL;
CREATE INDEX messages_dead ON messages (queue, dead_at) WHERE dead_at IS NOT NULL;

CREATE TABLE buckets (
    name       TEXT    PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE objects (
    id          INTEGER PRIMARY KEY,
    bucket      TEXT    NOT NULL REFERENCES buckets (name),
    key         TEXT    NOT NULL,             -- compared bytewise, as S3 lists
    size        INTEGER NOT NULL,
    etag        TEXT    NOT NULL,             -- without quotes
    modified_at INTEGER NOT NULL,
    headers     TEXT    NOT NULL,             -- content type, user metadata and the like, as JSON
    UNIQUE (bucket, key)
) STRICT;

-- The bytes of an object in order: a file for every part of a multipart upload, which so needs no copy, else one segment.
-- Few bytes stand right here: one fsync instead of three.
CREATE TABLE segments (
    object INTEGER NOT NULL REFERENCES objects (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    size   INTEGER NOT NULL,
    blob   TEXT    UNIQUE,
    inline BLOB,
    PRIMARY KEY (object, number),
    CHECK ((blob IS NULL) <> (inline IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE uploads (
    id           TEXT    PRIMARY KEY,
    bucket       TEXT    NOT NULL REFERENCES buckets (name),
    key          TEXT    NOT NULL,
    initiated_at INTEGER NOT NULL,
    headers      TEXT    NOT NULL,
    completed    TEXT                         -- ETag of the finished object: a repeated completion gets the same answer
) STRICT, WITHOUT ROWID;
CREATE INDEX uploads_by_key ON uploads (bucket, key, id);

CREATE TABLE parts (
    upload      TEXT    NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    number      INTEGER NOT NULL,
    blob        TEXT    NOT NULL UNIQUE,
    size        INTEGER NOT NULL,
    etag        TEXT    NOT NULL,
    modified_at INTEGER NOT NULL,
    PRIMARY KEY (upload, number)
) STRICT, WITHOUT ROWID;

-- The last number given to an event, so that sequencers grow whatever the clock does.
CREATE TABLE sequencer (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    last INTEGER NOT NULL
) STRICT;
INSERT INTO sequencer VALUES (1, 0);
