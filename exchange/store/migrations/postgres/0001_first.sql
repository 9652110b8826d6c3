-- The same tables as SQLite's. Times are microseconds since the epoch. Text that is compared or sorted is COLLATE "C": the
-- order of a version must not hang on how a server was set up. Small hot rows have room for their next version beside them.

CREATE TABLE head (                 -- one row: whoever appends holds it
    k smallint PRIMARY KEY CHECK (k = 0),
    state text NOT NULL,            -- open, or why not
    last_tick bigint NOT NULL,
    last_time bigint NOT NULL,
    seq bigint NOT NULL,
    agreement bigint NOT NULL,      -- adoption number in force
    pol text NOT NULL,              -- its name, as leaves carry it
    registry bigint NOT NULL,       -- rises with every change of members, credentials, collections, trust
    revision bigint NOT NULL,       -- rises when what was placed earlier may read differently: a rival version, a deletion
    views bigint NOT NULL,          -- rises with every step of any member's view
    moves bigint NOT NULL,          -- rises when something came under another label, or a label that cites something ceased to hold anything
    citing bigint NOT NULL          -- rises when a label that cites something comes to hold something, or ceases to
) WITH (fillfactor = 10);
INSERT INTO head VALUES (0, 'open', 0, 0, 0, 0, '', 0, 0, 0, 0, 0);

CREATE TABLE tree (                 -- one of each kind is open: both, us, mx, or its next generation, both/2
    log text COLLATE "C" PRIMARY KEY, size bigint NOT NULL, root bytea NOT NULL, frontier bytea NOT NULL,
    before bigint NOT NULL,         -- entries of the generations before it
    closed boolean NOT NULL         -- for ever: nothing is appended or signed
) WITH (fillfactor = 10);
INSERT INTO tree VALUES             -- the root of an empty log is SHA-256 of nothing (RFC 6962, 2.1)
    ('both', 0, '\xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', '', 0, false),
    ('us', 0, '\xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', '', 0, false),
    ('mx', 0, '\xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', '', 0, false);

CREATE TABLE leaf (
    log text COLLATE "C" NOT NULL, idx bigint NOT NULL, data bytea NOT NULL, hash bytea NOT NULL,
    PRIMARY KEY (log, idx)
);

CREATE TABLE leaf_private (         -- deletable: erasing a row leaves the tree whole
    log text COLLATE "C" NOT NULL, idx bigint NOT NULL, salt bytea NOT NULL, payload bytea NOT NULL,
    blocked boolean NOT NULL DEFAULT false, -- read only to determine liability, in no export, to be erased
    PRIMARY KEY (log, idx)
);
-- Lists of objects by their first tick: a payload that begins with {"items":[" or with {"runs":[[ and has the tick behind it
CREATE INDEX leaf_private_items ON leaf_private (substr(payload, 12, 16)) WHERE substr(payload, 1, 11) = '\x7b226974656d73223a5b22';
CREATE INDEX leaf_private_runs ON leaf_private (substr(payload, 11, 16)) WHERE substr(payload, 1, 10) = '\x7b2272756e73223a5b5b';

CREATE TABLE tile (                 -- full tiles only: 256 hashes, 8,192 bytes
    log text COLLATE "C" NOT NULL, level int NOT NULL, n bigint NOT NULL, data bytea NOT NULL,
    PRIMARY KEY (log, level, n)
);
ALTER TABLE tile ALTER data SET STORAGE EXTERNAL;   -- hashes do not compress

CREATE TABLE checkpoint (           -- the key makes a second root for one size impossible
    log text COLLATE "C" NOT NULL, size bigint NOT NULL, root bytea NOT NULL, note bytea NOT NULL, signed_us bigint NOT NULL,
    PRIMARY KEY (log, size)
);
CREATE TABLE cosignature (
    log text COLLATE "C" NOT NULL, size bigint NOT NULL, witness text COLLATE "C" NOT NULL, line text NOT NULL,
    PRIMARY KEY (log, size, witness)
);
CREATE TABLE log_key (              -- what signs a log, by the size of its tree; no rows while it has the key it was opened with
    log text COLLATE "C" NOT NULL, vkey text COLLATE "C" NOT NULL, since bigint NOT NULL, until bigint,
    PRIMARY KEY (log, vkey)
);

CREATE TABLE member (
    slug text COLLATE "C" PRIMARY KEY, identity_id text NOT NULL UNIQUE, country text NOT NULL, kind text NOT NULL,
    roles text NOT NULL, sectors text NOT NULL, name_en text NOT NULL, name_es text NOT NULL,
    status text NOT NULL, default_tlp text NOT NULL, consents boolean NOT NULL
);
CREATE TABLE credential (
    id text COLLATE "C" PRIMARY KEY, member text NOT NULL REFERENCES member, kind text NOT NULL, digest bytea NOT NULL,
    created_us bigint NOT NULL, expires_us bigint NOT NULL, ended_us bigint, note text NOT NULL,
    certificate bytea NOT NULL, product text NOT NULL
);
CREATE TABLE signing_cert (
    thumbprint text COLLATE "C" PRIMARY KEY, member text NOT NULL REFERENCES member, certificate bytea NOT NULL,
    added_us bigint NOT NULL, revoked_us bigint, compromised_since_us bigint, reason text
);
CREATE TABLE collection (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL UNIQUE, alias text NOT NULL UNIQUE,
    title text NOT NULL UNIQUE, description text NOT NULL, readers text NOT NULL, writers text NOT NULL
);
CREATE TABLE agreement (
    number bigint PRIMARY KEY, agreement_id text NOT NULL, version bigint NOT NULL, document bytea NOT NULL,
    approvals bytea NOT NULL, adopted_us bigint NOT NULL, impact_sha256 text NOT NULL,
    overlays bytea NOT NULL,          -- tightenings in force beside it
    cause text NOT NULL              -- activate, tighten, lift, lapse, expire
);
CREATE TABLE draft (                -- versions on their way; written once, as is what is said of them
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sha256 text NOT NULL, impact_sha256 text NOT NULL,
    agreement_id text NOT NULL, version bigint NOT NULL, document bytea NOT NULL, impact bytea NOT NULL,
    openings bytea NOT NULL, proposed_us bigint NOT NULL, UNIQUE (sha256, impact_sha256)
);
CREATE INDEX draft_version ON draft (agreement_id, version);
CREATE TABLE approval (
    sha256 text NOT NULL, impact_sha256 text NOT NULL, country text NOT NULL, approver text NOT NULL, decision text NOT NULL,
    approval bytea NOT NULL, given_us bigint NOT NULL,
    PRIMARY KEY (sha256, impact_sha256, country, approver, decision)
);
CREATE TABLE schedule (
    sha256 text NOT NULL, impact_sha256 text NOT NULL, scheduled_us bigint NOT NULL, PRIMARY KEY (sha256, impact_sha256)
);
CREATE TABLE statement (            -- consents and additions to audiences, as their members said and signed them
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL UNIQUE, kind text NOT NULL,
    member text NOT NULL, about text NOT NULL, words bytea NOT NULL, jws text NOT NULL, made_us bigint NOT NULL
);
CREATE TABLE trust_list (version bigint PRIMARY KEY, document bytea NOT NULL);

CREATE TABLE label (                -- numbered by whoever holds the head
    id bigint PRIMARY KEY, collection text NOT NULL, facets text COLLATE "C" NOT NULL, country text NOT NULL,
    placements bigint NOT NULL, last_tick bigint NOT NULL,
    joined bigint NOT NULL DEFAULT 0,   -- the hub's last tick when something that was placed before last came under it
    live smallint NOT NULL           -- of one that tells of citing: 1 while the newest version of something lies under it, else 0; of others -1
) WITH (fillfactor = 50);

CREATE INDEX label_dead ON label (id) WHERE live = 0;
CREATE INDEX label_last ON label (last_tick);
CREATE INDEX label_joined ON label (joined) WHERE joined > 0;
CREATE UNIQUE INDEX label_facets ON label (md5(facets));  -- with its ends a label may be longer than an index takes

CREATE TABLE object (               -- numbered by whoever holds the head
    vid bigint PRIMARY KEY, id text COLLATE "C" NOT NULL, instant text COLLATE "C" NOT NULL, holder text COLLATE "C" NOT NULL,
    type text NOT NULL, version text NOT NULL, created text NOT NULL, revoked boolean NOT NULL, owner text NOT NULL,
    sha256 bytea NOT NULL, item bytea NOT NULL
);
CREATE UNIQUE INDEX object_version ON object (id, instant, holder);
CREATE INDEX object_revoked ON object (id, instant) WHERE revoked;

CREATE TABLE reference (            -- what a version refers to, for finding who refers to an id
    id text COLLATE "C" NOT NULL, vid bigint NOT NULL,
    PRIMARY KEY (id, vid)
);
CREATE INDEX reference_vid ON reference (vid);

CREATE TABLE placement (            -- an object version in a collection; tick is its date_added
    collection text COLLATE "C" NOT NULL, tick bigint NOT NULL, label bigint NOT NULL, vid bigint NOT NULL,
    newer smallint NOT NULL,        -- 1: some later version (or twin) is or was placed here too; 0: surely the latest
    run bigint NOT NULL,            -- first tick of the run that holds its bytes
    PRIMARY KEY (collection, tick)
);
CREATE INDEX placement_label ON placement (label, tick);
CREATE INDEX placement_vid ON placement (vid);

CREATE TABLE run (                  -- neighbours of one label, ticks without a gap, their canonical bytes joined by commas
    first_tick bigint PRIMARY KEY, collection text COLLATE "C" NOT NULL, label bigint NOT NULL, count int NOT NULL,
    odd smallint NOT NULL,          -- 1: ask the rows first, some have rivals or went
    ends bytea NOT NULL,            -- where each body ends: 4 bytes each, little-endian
    items bytea NOT NULL,           -- item hashes: 32 bytes each
    bodies bytea NOT NULL
);
ALTER TABLE run ALTER items SET STORAGE EXTERNAL,   -- as they are: unpacking would cost each page more than the disk is worth
    ALTER bodies SET STORAGE EXTERNAL;
CREATE INDEX run_collection ON run (collection, first_tick) INCLUDE (label, count, odd);
CREATE INDEX run_label ON run (label, first_tick) INCLUDE (count, odd);

CREATE TABLE member_view (          -- what each label was to a member when its view was last written (exchange/model/view.py)
    member text COLLATE "C" PRIMARY KEY, number bigint NOT NULL, states bytea NOT NULL, floor bigint NOT NULL,
    last_tick bigint NOT NULL,
    born bigint NOT NULL,           -- the tick at which the member was first answered
    changes bigint NOT NULL,        -- of registry and agreement, until it was written
    until_us bigint NOT NULL,       -- nothing placed behind it was ever shown by what is written here
    elsewhere bigint NOT NULL DEFAULT 0  -- when something last came under another label that is not shown where it was placed
);
CREATE TABLE view_label (           -- labels that do not simply lie where they were placed
    member text COLLATE "C" NOT NULL, label bigint NOT NULL, done bigint NOT NULL,
    windows text NOT NULL,          -- [[after, until], …]: native ticks that are shown
    PRIMARY KEY (member, label)
);
CREATE TABLE late_run (             -- runs that became visible to a member later: their objects have ticks from `tick` on
    member text COLLATE "C" NOT NULL, collection text COLLATE "C" NOT NULL, tick bigint NOT NULL, run bigint NOT NULL,
    count int NOT NULL, label bigint NOT NULL,
    PRIMARY KEY (member, collection, tick)
);
CREATE INDEX late_run_run ON late_run (member, run);

CREATE TABLE recall (               -- what a member is asked to drop
    id text COLLATE "C" PRIMARY KEY, member text COLLATE "C" NOT NULL, collection text NOT NULL, cause text NOT NULL,
    term text NOT NULL, reveals text NOT NULL, countries text NOT NULL, what bytea NOT NULL, scope bytea NOT NULL,
    opened_us bigint NOT NULL, due_us bigint, required boolean NOT NULL,
    seen_us bigint, acknowledged_us bigint, account text NOT NULL,
    noticed boolean NOT NULL,       -- whether its notice lies in the collection
    owes boolean NOT NULL           -- scope names labels alone, and where they lay is kept in the view
);

-- Every writer would wait while a long list is packed as PostgreSQL does by itself, ten times as long. A server may be built without lz4.
DO $$ BEGIN
    ALTER TABLE leaf_private ALTER payload SET COMPRESSION lz4;
    ALTER TABLE recall ALTER what SET COMPRESSION lz4, ALTER scope SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    ALTER TABLE leaf_private ALTER payload SET STORAGE EXTERNAL;
END $$;
CREATE INDEX recall_member ON recall (member, opened_us);
CREATE INDEX recall_unnoticed ON recall (opened_us, id) WHERE NOT noticed;
CREATE INDEX recall_owes ON recall (member) WHERE owes;

CREATE TABLE relabelled (           -- versions that revoke, or lie under another label than the one before, until whoever is to drop something was told
    tick bigint PRIMARY KEY, collection text NOT NULL, id text NOT NULL,
    label bigint NOT NULL,
    former bigint NOT NULL, placed bigint NOT NULL,  -- label and tick of the version before
    again boolean NOT NULL          -- it is the same version
);

CREATE TABLE list_size (            -- what a member's block lists last held, so that a sudden fall is noticed
    member text COLLATE "C" NOT NULL, collection text NOT NULL, kind text NOT NULL, count bigint NOT NULL,
    PRIMARY KEY (member, collection, kind)
);

CREATE TABLE feed_run (             -- what members told of the last runs of their feeds
    member text COLLATE "C" NOT NULL, feed text COLLATE "C" NOT NULL, run text COLLATE "C" NOT NULL, ended_us bigint NOT NULL,
    good_us bigint NOT NULL,       -- when the last good one ended; 0: never
    sha256 bytea NOT NULL, body bytea NOT NULL,
    PRIMARY KEY (member, feed, run)
);
CREATE INDEX feed_run_ended ON feed_run (member, feed, ended_us, run);

CREATE TABLE held_value (           -- for what objects were refused though somebody may release it
    member text COLLATE "C" NOT NULL, value text COLLATE "C" NOT NULL, list_name text COLLATE "C" NOT NULL,
    asset text COLLATE "C" NOT NULL,            -- whose it is: for the operator alone
    object_id text COLLATE "C" NOT NULL, held_us bigint NOT NULL,
    PRIMARY KEY (member, value)
);
CREATE INDEX held_value_last ON held_value (member, held_us);
CREATE TABLE released_value (       -- held values that are accepted from an audience until then
    audience text COLLATE "C" NOT NULL, value text COLLATE "C" NOT NULL, until_us bigint NOT NULL,
    PRIMARY KEY (audience, value)
);

CREATE TABLE status (id text PRIMARY KEY, member text NOT NULL, created_us bigint NOT NULL, body bytea NOT NULL);
