-- The lock, the three logs, what they speak of, and what can be read. Times are microseconds since the epoch.

CREATE TABLE head (                 -- one row: whoever appends holds it
    k INTEGER PRIMARY KEY CHECK (k = 0),
    state TEXT NOT NULL,            -- open, or why not
    last_tick INTEGER NOT NULL,
    last_time INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    agreement INTEGER NOT NULL,     -- adoption number in force
    pol TEXT NOT NULL,              -- its name, as leaves carry it
    registry INTEGER NOT NULL,      -- rises with every change of members, credentials, collections, trust
    revision INTEGER NOT NULL,      -- rises when what was placed earlier may read differently: a rival version, a deletion
    views INTEGER NOT NULL,         -- rises with every step of any member's view
    moves INTEGER NOT NULL,         -- rises when something came under another label, or a label that cites something ceased to hold anything
    citing INTEGER NOT NULL         -- rises when a label that cites something comes to hold something, or ceases to
);
INSERT INTO head VALUES (0, 'open', 0, 0, 0, 0, '', 0, 0, 0, 0, 0);

CREATE TABLE tree (                 -- one of each kind is open: both, us, mx, or its next generation, both/2
    log TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, frontier BLOB NOT NULL,
    before INTEGER NOT NULL,        -- entries of the generations before it
    closed INTEGER NOT NULL         -- 1: for ever; nothing is appended or signed
);
INSERT INTO tree VALUES             -- the root of an empty log is SHA-256 of nothing (RFC 6962, 2.1)
    ('both', 0, X'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', X'', 0, 0),
    ('us', 0, X'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', X'', 0, 0),
    ('mx', 0, X'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', X'', 0, 0);

CREATE TABLE leaf (
    log TEXT NOT NULL, idx INTEGER NOT NULL, data BLOB NOT NULL, hash BLOB NOT NULL,
    PRIMARY KEY (log, idx)
) WITHOUT ROWID;

CREATE TABLE leaf_private (         -- deletable: erasing a row leaves the tree whole
    log TEXT NOT NULL, idx INTEGER NOT NULL, salt BLOB NOT NULL, payload BLOB NOT NULL,
    blocked INTEGER NOT NULL DEFAULT 0,     -- 1: read only to determine liability, in no export, to be erased
    PRIMARY KEY (log, idx)
) WITHOUT ROWID;
-- Lists of objects by their first tick: a payload that begins with {"items":[" or with {"runs":[[ and has the tick behind it
CREATE INDEX leaf_private_items ON leaf_private (substr(payload, 12, 16)) WHERE substr(payload, 1, 11) = X'7b226974656d73223a5b22';
CREATE INDEX leaf_private_runs ON leaf_private (substr(payload, 11, 16)) WHERE substr(payload, 1, 10) = X'7b2272756e73223a5b5b';

CREATE TABLE tile (                 -- full tiles only: 256 hashes, 8,192 bytes
    log TEXT NOT NULL, level INTEGER NOT NULL, n INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (log, level, n)
);

CREATE TABLE checkpoint (           -- the key makes a second root for one size impossible
    log TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL, signed_us INTEGER NOT NULL,
    PRIMARY KEY (log, size)
);
CREATE TABLE cosignature (
    log TEXT NOT NULL, size INTEGER NOT NULL, witness TEXT NOT NULL, line TEXT NOT NULL,
    PRIMARY KEY (log, size, witness)
);
CREATE TABLE log_key (              -- what signs a log, by the size of its tree; no rows while it has the key it was opened with
    log TEXT NOT NULL, vkey TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER,
    PRIMARY KEY (log, vkey)
);

CREATE TABLE member (
    slug TEXT PRIMARY KEY, identity_id TEXT NOT NULL UNIQUE, country TEXT NOT NULL, kind TEXT NOT NULL,
    roles TEXT NOT NULL, sectors TEXT NOT NULL, name_en TEXT NOT NULL, name_es TEXT NOT NULL,
    status TEXT NOT NULL, default_tlp TEXT NOT NULL, consents INTEGER NOT NULL
);
CREATE TABLE credential (
    id TEXT PRIMARY KEY, member TEXT NOT NULL REFERENCES member, kind TEXT NOT NULL, digest BLOB NOT NULL,
    created_us INTEGER NOT NULL, expires_us INTEGER NOT NULL, ended_us INTEGER, note TEXT NOT NULL,
    certificate BLOB NOT NULL, product TEXT NOT NULL
);
CREATE TABLE signing_cert (
    thumbprint TEXT PRIMARY KEY, member TEXT NOT NULL REFERENCES member, certificate BLOB NOT NULL, added_us INTEGER NOT NULL,
    revoked_us INTEGER, compromised_since_us INTEGER, reason TEXT
);
CREATE TABLE collection (
    position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, alias TEXT NOT NULL UNIQUE, title TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL, readers TEXT NOT NULL, writers TEXT NOT NULL
);
CREATE TABLE agreement (
    number INTEGER PRIMARY KEY, agreement_id TEXT NOT NULL, version INTEGER NOT NULL, document BLOB NOT NULL,
    approvals BLOB NOT NULL, adopted_us INTEGER NOT NULL, impact_sha256 TEXT NOT NULL,
    overlays BLOB NOT NULL,          -- tightenings in force beside it
    cause TEXT NOT NULL              -- activate, tighten, lift, lapse, expire
);
CREATE TABLE draft (                -- versions on their way; written once, as is what is said of them
    position INTEGER PRIMARY KEY, sha256 TEXT NOT NULL, impact_sha256 TEXT NOT NULL,
    agreement_id TEXT NOT NULL, version INTEGER NOT NULL, document BLOB NOT NULL, impact BLOB NOT NULL,
    openings BLOB NOT NULL, proposed_us INTEGER NOT NULL, UNIQUE (sha256, impact_sha256)
);
CREATE INDEX draft_version ON draft (agreement_id, version);
CREATE TABLE approval (
    sha256 TEXT NOT NULL, impact_sha256 TEXT NOT NULL, country TEXT NOT NULL, approver TEXT NOT NULL, decision TEXT NOT NULL,
    approval BLOB NOT NULL, given_us INTEGER NOT NULL,
    PRIMARY KEY (sha256, impact_sha256, country, approver, decision)
);
CREATE TABLE schedule (
    sha256 TEXT NOT NULL, impact_sha256 TEXT NOT NULL, scheduled_us INTEGER NOT NULL, PRIMARY KEY (sha256, impact_sha256)
);
CREATE TABLE statement (            -- consents and additions to audiences, as their members said and signed them
    position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, member TEXT NOT NULL, about TEXT NOT NULL,
    words BLOB NOT NULL, jws TEXT NOT NULL, made_us INTEGER NOT NULL
);
CREATE TABLE trust_list (version INTEGER PRIMARY KEY, document BLOB NOT NULL);

CREATE TABLE label (
    id INTEGER PRIMARY KEY, collection TEXT NOT NULL, facets TEXT NOT NULL UNIQUE, country TEXT NOT NULL,
    placements INTEGER NOT NULL, last_tick INTEGER NOT NULL,
    joined INTEGER NOT NULL DEFAULT 0,  -- the hub's last tick when something that was placed before last came under it
    live INTEGER NOT NULL           -- of one that tells of citing: 1 while the newest version of something lies under it, else 0; of others -1
);
CREATE INDEX label_dead ON label (id) WHERE live = 0;
CREATE INDEX label_last ON label (last_tick);
CREATE INDEX label_joined ON label (joined) WHERE joined > 0;
CREATE TABLE object (
    vid INTEGER PRIMARY KEY, id TEXT NOT NULL, instant TEXT NOT NULL, holder TEXT NOT NULL, type TEXT NOT NULL,
    version TEXT NOT NULL, created TEXT NOT NULL, revoked INTEGER NOT NULL, owner TEXT NOT NULL,
    sha256 BLOB NOT NULL, item BLOB NOT NULL,
    id_key INTEGER NOT NULL,        -- the first 64 bits of the id's SHA-256: ids are found by a seventh of their length
    again INTEGER NOT NULL          -- 1: the id was here before
);
CREATE INDEX object_key ON object (id_key, again);
CREATE UNIQUE INDEX object_version ON object (id, instant, holder) WHERE again = 1;
CREATE INDEX object_revoked ON object (id, instant) WHERE revoked = 1 AND again = 1;

CREATE TABLE reference (            -- what a version refers to, for finding who refers to an id
    id_key INTEGER NOT NULL, vid INTEGER NOT NULL, id TEXT NOT NULL,
    PRIMARY KEY (id_key, vid, id)
) WITHOUT ROWID;
CREATE INDEX reference_vid ON reference (vid);

CREATE TABLE placement (            -- an object version in a collection; tick is its date_added
    collection TEXT NOT NULL, tick INTEGER NOT NULL, label INTEGER NOT NULL, vid INTEGER NOT NULL,
    newer INTEGER NOT NULL,         -- 1: some later version (or twin) is or was placed here too; 0: surely the latest
    run INTEGER NOT NULL,           -- first tick of the run that holds its bytes
    PRIMARY KEY (collection, tick)
) WITHOUT ROWID;
CREATE INDEX placement_vid ON placement (vid);

CREATE TABLE run (                  -- neighbours of one label, ticks without a gap, their canonical bytes joined by commas
    first_tick INTEGER NOT NULL UNIQUE,  -- not the row's number: Python 3.11.2 opens no blob of a row beyond 32 bits
    collection TEXT NOT NULL, label INTEGER NOT NULL, count INTEGER NOT NULL,
    odd INTEGER NOT NULL,           -- 1: ask the rows first, some have rivals or went
    ends BLOB NOT NULL,             -- where each body ends: 4 bytes each, little-endian
    items BLOB NOT NULL,            -- item hashes: 32 bytes each
    bodies BLOB NOT NULL
);
CREATE INDEX run_collection ON run (collection, first_tick, label, count, odd);
CREATE INDEX run_label ON run (label, first_tick, count, odd);

CREATE TABLE member_view (          -- what each label was to a member when its view was last written (exchange/model/view.py)
    member TEXT PRIMARY KEY, number INTEGER NOT NULL, states BLOB NOT NULL, floor INTEGER NOT NULL, last_tick INTEGER NOT NULL,
    born INTEGER NOT NULL,          -- the tick at which the member was first answered
    changes INTEGER NOT NULL,       -- of registry and agreement, until it was written
    until_us INTEGER NOT NULL,      -- nothing placed behind it was ever shown by what is written here
    elsewhere INTEGER NOT NULL DEFAULT 0  -- when something last came under another label that is not shown where it was placed
) WITHOUT ROWID;
CREATE TABLE view_label (           -- labels that do not simply lie where they were placed
    member TEXT NOT NULL, label INTEGER NOT NULL, done INTEGER NOT NULL,
    windows TEXT NOT NULL,          -- [[after, until], …]: native ticks that are shown
    PRIMARY KEY (member, label)
) WITHOUT ROWID;
CREATE TABLE late_run (             -- runs that became visible to a member later: their objects have ticks from `tick` on
    member TEXT NOT NULL, collection TEXT NOT NULL, tick INTEGER NOT NULL, run INTEGER NOT NULL, count INTEGER NOT NULL,
    label INTEGER NOT NULL,
    PRIMARY KEY (member, collection, tick)
) WITHOUT ROWID;
CREATE INDEX late_run_run ON late_run (member, run);

CREATE TABLE recall (               -- what a member is asked to drop
    id TEXT PRIMARY KEY, member TEXT NOT NULL, collection TEXT NOT NULL, cause TEXT NOT NULL, term TEXT NOT NULL,
    reveals TEXT NOT NULL, countries TEXT NOT NULL,
    what BLOB NOT NULL, scope BLOB NOT NULL, opened_us INTEGER NOT NULL, due_us INTEGER, required INTEGER NOT NULL,
    seen_us INTEGER, acknowledged_us INTEGER, account TEXT NOT NULL,
    noticed INTEGER NOT NULL,           -- whether its notice lies in the collection
    owes INTEGER NOT NULL               -- 1: scope names labels alone, and where they lay is kept in the view
);
CREATE INDEX recall_member ON recall (member, opened_us);
CREATE INDEX recall_unnoticed ON recall (opened_us, id) WHERE noticed = 0;
CREATE INDEX recall_owes ON recall (member) WHERE owes = 1;

CREATE TABLE relabelled (           -- versions that revoke, or lie under another label than the one before, until whoever is to drop something was told
    tick INTEGER PRIMARY KEY, collection TEXT NOT NULL, id TEXT NOT NULL,
    label INTEGER NOT NULL,
    former INTEGER NOT NULL, placed INTEGER NOT NULL,  -- label and tick of the version before
    again INTEGER NOT NULL          -- 1: it is the same version
);

CREATE TABLE list_size (            -- what a member's block lists last held, so that a sudden fall is noticed
    member TEXT NOT NULL, collection TEXT NOT NULL, kind TEXT NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (member, collection, kind)
) WITHOUT ROWID;

CREATE TABLE feed_run (             -- what members told of the last runs of their feeds
    member TEXT NOT NULL, feed TEXT NOT NULL, run TEXT NOT NULL, ended_us INTEGER NOT NULL,
    good_us INTEGER NOT NULL,       -- when the last good one ended; 0: never
    sha256 BLOB NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (member, feed, run)
) WITHOUT ROWID;
CREATE INDEX feed_run_ended ON feed_run (member, feed, ended_us, run);

CREATE TABLE held_value (           -- for what objects were refused though somebody may release it
    member TEXT NOT NULL, value TEXT NOT NULL, list_name TEXT NOT NULL,
    asset TEXT NOT NULL,            -- whose it is: for the operator alone
    object_id TEXT NOT NULL, held_us INTEGER NOT NULL,
    PRIMARY KEY (member, value)
) WITHOUT ROWID;
CREATE INDEX held_value_last ON held_value (member, held_us);
CREATE TABLE released_value (       -- held values that are accepted from an audience until then
    audience TEXT NOT NULL, value TEXT NOT NULL, until_us INTEGER NOT NULL,
    PRIMARY KEY (audience, value)
) WITHOUT ROWID;

CREATE TABLE status (id TEXT PRIMARY KEY, member TEXT NOT NULL, created_us INTEGER NOT NULL, body BLOB NOT NULL);
