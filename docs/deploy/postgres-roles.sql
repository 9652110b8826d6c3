-- Two roles, so that the password which the hubs hold cannot rewrite the log: the owner of the tables, whose password is used
-- for `puente init` and for updates that change the schema, and the role the hubs serve with.
-- Run it by the owner, in the hub's database, after `puente init` and after each such update:
--
--     psql "$OWNER_URL" -c "CREATE ROLE puente_hub LOGIN PASSWORD '…'"     -- once
--     psql "$OWNER_URL" -f docs/deploy/postgres-roles.sql

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM puente_hub;
GRANT USAGE ON SCHEMA public TO puente_hub;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO puente_hub;

-- Written once: the log, its hashes, what was signed, and what was adopted.
GRANT INSERT ON leaf, leaf_private, tile, checkpoint, agreement, draft, approval, schedule, trust_list, statement,
    status TO puente_hub;

-- The openings of what the log only commits to: blocked, then erased, by both countries' approvals and with an entry.
GRANT UPDATE (blocked), DELETE ON leaf_private TO puente_hub;

-- Counters and states that move on.
GRANT UPDATE ON head, tree TO puente_hub;
GRANT INSERT, UPDATE (until) ON log_key TO puente_hub;
GRANT INSERT ON tree TO puente_hub;      -- the generation after a log that was closed
GRANT INSERT, UPDATE ON cosignature, member, credential, signing_cert, collection, label, run, list_size, recall TO puente_hub;

-- What members see where; what is closed to one again is forgotten.
GRANT INSERT, UPDATE ON member_view TO puente_hub;
GRANT INSERT, UPDATE, DELETE ON view_label, relabelled TO puente_hub;
GRANT INSERT, DELETE ON late_run, feed_run TO puente_hub;

-- What is held back and what is let in of it; the oldest is forgotten.
GRANT INSERT, UPDATE, DELETE ON held_value, released_value TO puente_hub;

-- Objects come and, when their owner takes them out, go.
GRANT INSERT, UPDATE, DELETE ON placement TO puente_hub;
GRANT DELETE ON run TO puente_hub;  -- one that was cut in pieces
GRANT INSERT, DELETE ON object, reference TO puente_hub;
