-- create the helper table
DO $$ BEGIN CREATE TYPE "held"."enum_link_pull_delete_none" AS ENUM ('PULL', 'DELETE', 'NONE'); EXCEPTION WHEN duplicate_object THEN NULL; END $$;

-- create the helper table
DO $$ BEGIN CREATE TYPE "held"."enum_link_true_false" AS ENUM ('TRUE', 'FALSE'); EXCEPTION WHEN duplicate_object THEN NULL; END $$;

-- create the helper table
CREATE TABLE "held"."unit_outbound" ("n" integer NOT NULL, "name" character varying(20) NOT NULL, "process" "held"."enum_link_pull_delete_none" NOT NULL DEFAULT 'NONE', "is_flagged" "held"."enum_link_true_false" NOT NULL DEFAULT 'FALSE', "is_deprecated" "held"."enum_link_true_false" NOT NULL DEFAULT 'FALSE', "_worker" integer NOT NULL DEFAULT 0, "_pulled" timestamp with time zone NULL, "_refreshed" timestamp with time zone NULL, "_flagged" timestamp with time zone NULL, PRIMARY KEY ("n", "name"), FOREIGN KEY ("n", "name") REFERENCES "lab"."#unit" ("n", "name") ON UPDATE NO ACTION ON DELETE NO ACTION) WITH (fillfactor = 50);

-- create the helper table
COMMENT ON TABLE "held"."unit_outbound" IS 'datajoint-link';

-- create the helper table
DO $$ BEGIN CREATE TYPE "held"."enum_link_pull_delete_none" AS ENUM ('PULL', 'DELETE', 'NONE'); EXCEPTION WHEN duplicate_object THEN NULL; END $$;

-- create the helper table
CREATE TABLE "held"."unit_outbound" ("n" integer NOT NULL, "name" character varying(20) NOT NULL, "_process" "held"."enum_link_pull_delete_none" NOT NULL DEFAULT 'NONE', "_worker" integer NOT NULL DEFAULT 0, PRIMARY KEY ("n", "name"), FOREIGN KEY ("n", "name") REFERENCES "lab"."#unit" ("n", "name") ON UPDATE NO ACTION ON DELETE NO ACTION) WITH (fillfactor = 50);

-- create the helper table
COMMENT ON TABLE "held"."unit_outbound" IS 'datajoint-link';

-- create a part of the helper table
CREATE TABLE "held"."unit_outbound__deletion_requested" ("n" integer NOT NULL, "name" character varying(20) NOT NULL, PRIMARY KEY ("n", "name"), FOREIGN KEY ("n", "name") REFERENCES "held"."unit_outbound" ("n", "name") ON UPDATE NO ACTION ON DELETE NO ACTION);

-- create a part of the helper table
CREATE TABLE "held"."unit_outbound__deletion_approved" ("n" integer NOT NULL, "name" character varying(20) NOT NULL, PRIMARY KEY ("n", "name"), FOREIGN KEY ("n", "name") REFERENCES "held"."unit_outbound" ("n", "name") ON UPDATE NO ACTION ON DELETE NO ACTION);

-- note when rows are flagged
DO $$ BEGIN CREATE OR REPLACE FUNCTION "held"."link_since_5418bd1c"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $since$ BEGIN UPDATE "held"."unit_outbound"
    SET "_flagged" = now()
    WHERE ("n", "name") = (NEW."n", NEW."name"); RETURN NULL; EXCEPTION WHEN OTHERS THEN RETURN NULL; END $since$; REVOKE ALL ON FUNCTION "held"."link_since_5418bd1c"()
    FROM PUBLIC; CREATE OR REPLACE TRIGGER link_since AFTER UPDATE OF "is_flagged" ON "held"."unit_outbound" FOR EACH ROW WHEN (OLD."is_flagged" IS DISTINCT
    FROM NEW."is_flagged") EXECUTE FUNCTION "held"."link_since_5418bd1c"(); EXCEPTION WHEN insufficient_privilege THEN NULL; END $$;

-- say whom a helper table serves
SET lock_timeout = '3s';

-- say whom a helper table serves
COMMENT ON TABLE "held"."unit_outbound" IS 'Rows held by Lab B [datajoint-link]';

-- create the table with the numbers
CREATE TABLE "here"."~link" (name text PRIMARY KEY, number text NOT NULL, place text NOT NULL, tie text NULL);

-- create the table with the numbers
GRANT
    SELECT ON "here"."~link" TO PUBLIC;

-- let it hold ties
SET lock_timeout = '3s';

-- let it hold ties
ALTER TABLE "here"."~link" ADD COLUMN tie text NULL;

-- create the table with edits
CREATE TABLE "here"."~link_edited" (name text NOT NULL, digest text NOT NULL, PRIMARY KEY (name, digest));

-- create the table with edits
GRANT
    SELECT, INSERT ON "here"."~link_edited" TO PUBLIC;

-- note an edit
INSERT INTO "here"."~link_edited" ("name", "digest")
    SELECT 'unit', encode(sha256(record_send(ROW("here"."unit"."n", convert_to("here"."unit"."name"::text, 'UTF8'), CASE WHEN "here"."unit"."x" = 'NaN' THEN 'NaN' ELSE "here"."unit"."x" END, "here"."unit"."wave"))), 'hex')
    FROM "here"."unit"
    WHERE n = 1
    ON CONFLICT DO NOTHING;

-- tell what was edited
encode(sha256(record_send(ROW("here"."unit"."n", convert_to("here"."unit"."name"::text, 'UTF8'), CASE WHEN "here"."unit"."x" = 'NaN' THEN 'NaN' ELSE "here"."unit"."x" END, "here"."unit"."wave"))), 'hex') IN (SELECT digest
    FROM "here"."~link_edited"
    WHERE name = 'unit');

-- complete a helper table
ALTER TABLE "held"."unit_outbound" ADD COLUMN "_worker" integer NOT NULL DEFAULT 0;

-- complete a helper table
ALTER TABLE "held"."unit_outbound" ADD COLUMN "_pulled" timestamp with time zone NULL, ADD COLUMN "_refreshed" timestamp with time zone NULL, ADD COLUMN "_flagged" timestamp with time zone NULL;

-- create a local table
CREATE TABLE "here"."unit" ("n" integer NOT NULL, "name" character varying(20) NOT NULL, "x" real NOT NULL, "wave" bytea NULL, PRIMARY KEY ("n", "name"));

-- create a local table
COMMENT ON TABLE "here"."unit" IS 'a unit';

-- create a local table
COMMENT ON COLUMN "here"."unit"."wave" IS 'samples, 100%%';

-- create a local table
CREATE TABLE "here"."unit__spike" ("n" integer NOT NULL, "name" character varying(20) NOT NULL, "spike" integer NOT NULL, PRIMARY KEY ("n", "name", "spike"), FOREIGN KEY ("n", "name") REFERENCES "here"."unit" ("n", "name") ON UPDATE CASCADE ON DELETE RESTRICT);

-- create a local table with indexes
CREATE TABLE "here"."#unit" ("n" integer NOT NULL, "name" character varying(20) NOT NULL, "x" real NOT NULL, "wave" bytea NULL, PRIMARY KEY ("n", "name"));

-- create a local table with indexes
COMMENT ON TABLE "here"."#unit" IS 'a unit';

-- create a local table with indexes
COMMENT ON COLUMN "here"."#unit"."wave" IS 'samples, 100%%';

-- create a local table with indexes
CREATE INDEX ON "here"."#unit" ("x", "n");

-- create a local table with indexes
CREATE UNIQUE INDEX ON "here"."#unit" ("name");

-- alter a table
ALTER TABLE "lab"."#unit" ADD COLUMN "y" real NOT NULL DEFAULT 0.5, ALTER COLUMN "name" TYPE character varying(40), ALTER COLUMN "name" DROP NOT NULL, DROP COLUMN "wave";

-- alter a table
COMMENT ON COLUMN "lab"."#unit"."y" IS '100%%';

-- let a helper table refer to its source
ALTER TABLE "held"."unit_outbound" DROP CONSTRAINT "outbound_ibfk_1", ADD FOREIGN KEY ("n", "name") REFERENCES "lab"."#unit" ("n", "name") ON UPDATE NO ACTION ON DELETE NO ACTION;

-- @link: which rows are shared
EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~holding"
    WHERE "lab"."#unit"."n" = "~holding"."n" AND "lab"."#unit"."name" = "~holding"."name" AND CASE WHEN "~holding".process = 'NONE' AND "~holding".is_flagged = 'FALSE' AND "~holding".is_deprecated = 'FALSE' THEN TRUE END);

-- @link: adopt: (7, 3)
UPDATE "held"."unit_outbound"
    SET _worker = %s, _flagged = "held"."unit_outbound"._flagged
    WHERE "held"."unit_outbound".process IN ('PULL', 'DELETE') AND _worker IN (%s);

-- @link: survey, at rest
SELECT COUNT(*), COALESCE(SUM(CASE WHEN "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'FALSE' AND "held"."unit_outbound".is_deprecated = 'FALSE' THEN 1 ELSE 0 END), 0)
    FROM "held"."unit_outbound"
    WHERE EXISTS (SELECT 1
    FROM "lab"."#unit"
    WHERE "lab"."#unit"."n" = "held"."unit_outbound"."n" AND "lab"."#unit"."name" = "held"."unit_outbound"."name" AND (n > 3));

-- @link: survey, others
SELECT "held"."unit_outbound".process, "held"."unit_outbound".is_flagged, "held"."unit_outbound".is_deprecated, CASE WHEN "held"."unit_outbound".process IN ('PULL', 'DELETE') THEN _worker ELSE 0 END, COUNT(*)
    FROM "held"."unit_outbound"
    WHERE NOT ("held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'FALSE' AND "held"."unit_outbound".is_deprecated = 'FALSE')
    GROUP BY 1, 2, 3, 4;

-- @link: what a refresh leaves alone
SELECT COUNT(*), COALESCE(SUM(CASE WHEN "held"."unit_outbound".process IN ('PULL', 'DELETE') THEN 1 ELSE 0 END), 0)
    FROM "held"."unit_outbound"
    WHERE EXISTS (SELECT 1
    FROM "lab"."#unit"
    WHERE "lab"."#unit"."n" = "held"."unit_outbound"."n" AND "lab"."#unit"."name" = "held"."unit_outbound"."name" AND (n > 3)) AND NOT ("held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'FALSE');

-- @link: claim a range: (1, 'a', 7, "it's 100%")
INSERT INTO "held"."unit_outbound" ("n", "name", "process", "is_flagged", "is_deprecated", "_worker", "_pulled", "_refreshed")
    SELECT "lab"."#unit"."n", "lab"."#unit"."name", 'PULL', 'FALSE', 'FALSE', 7, CURRENT_TIMESTAMP, NULL
    FROM "lab"."#unit"
    WHERE NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~held"
    WHERE "~held"."n" = "lab"."#unit"."n" AND "~held"."name" = "lab"."#unit"."name") AND ("lab"."#unit"."n", "lab"."#unit"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("lab"."#unit"."n", "lab"."#unit"."name") <= ((%s)::integer, (%s)::character varying(20))
    ON CONFLICT DO NOTHING;

-- @link: claim a range that nobody holds anything of: (1, 'a', 7, "it's 100%")
INSERT INTO "held"."unit_outbound" ("n", "name", "process", "is_flagged", "is_deprecated", "_worker", "_pulled", "_refreshed")
    SELECT "lab"."#unit"."n", "lab"."#unit"."name", 'PULL', 'FALSE', 'FALSE', 7, CURRENT_TIMESTAMP, NULL
    FROM "lab"."#unit"
    WHERE (n > 3) AND ("lab"."#unit"."n", "lab"."#unit"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("lab"."#unit"."n", "lab"."#unit"."name") <= ((%s)::integer, (%s)::character varying(20))
    ON CONFLICT DO NOTHING;

-- @link: claim keys: ('{1,2}', ['a', 'b'])
INSERT INTO "held"."unit_outbound" ("n", "name", "process", "is_flagged", "is_deprecated", "_worker", "_pulled", "_refreshed")
    SELECT "lab"."#unit"."n", "lab"."#unit"."name", 'PULL', 'FALSE', 'FALSE', 7, CURRENT_TIMESTAMP, NULL
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1") JOIN "lab"."#unit" ON "lab"."#unit"."n" = ("~keys"."~0")::integer AND "lab"."#unit"."name" = ("~keys"."~1")::character varying(20)
    WHERE NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~held"
    WHERE "~held"."n" = "lab"."#unit"."n" AND "~held"."name" = "lab"."#unit"."name") AND (n > 3)
    ON CONFLICT DO NOTHING;

-- @link: count what nobody holds
SELECT COUNT(*)
    FROM "lab"."#unit"
    WHERE NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~held"
    WHERE "~held"."n" = "lab"."#unit"."n" AND "~held"."name" = "lab"."#unit"."name") AND (n > 3);

-- @link: rows of a chunk, master: (1, 'a', 7, 'b')
FROM "held"."unit_outbound" JOIN "lab"."#unit" ON "lab"."#unit"."n" = "held"."unit_outbound"."n" AND "lab"."#unit"."name" = "held"."unit_outbound"."name"
    WHERE "held"."unit_outbound".process = 'PULL' AND "held"."unit_outbound"._worker = 7 AND "held"."unit_outbound".is_flagged = 'FALSE' AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20))
    ORDER BY "held"."unit_outbound"."n", "held"."unit_outbound"."name";

-- @link: rows of a chunk, part: (1, 'a', 7, 'b')
FROM "held"."unit_outbound" JOIN "lab"."#unit__spike" ON "lab"."#unit__spike"."n" = "held"."unit_outbound"."n" AND "lab"."#unit__spike"."name" = "held"."unit_outbound"."name"
    WHERE "held"."unit_outbound".process = 'PULL' AND "held"."unit_outbound"._worker = 7 AND "held"."unit_outbound".is_flagged = 'FALSE' AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20))
    ORDER BY "held"."unit_outbound"."n", "held"."unit_outbound"."name";

-- @link: rows of a whole chunk: (1, 'a', 7, 'b')
FROM "lab"."#unit__spike"
    WHERE ("lab"."#unit__spike"."n", "lab"."#unit__spike"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("lab"."#unit__spike"."n", "lab"."#unit__spike"."name") <= ((%s)::integer, (%s)::character varying(20))
    ORDER BY "lab"."#unit__spike"."n", "lab"."#unit__spike"."name";

-- @link: how many rows of a chunk: (1, 'a', 7, 'b', 1, 'a', 7, 'b')
SELECT (SELECT COUNT(*)
    FROM "held"."unit_outbound" JOIN "lab"."#unit" ON "lab"."#unit"."n" = "held"."unit_outbound"."n" AND "lab"."#unit"."name" = "held"."unit_outbound"."name"
    WHERE "held"."unit_outbound".process = 'PULL' AND "held"."unit_outbound"._worker = 7 AND "held"."unit_outbound".is_flagged = 'FALSE' AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20))), (SELECT COUNT(*)
    FROM "held"."unit_outbound" JOIN "lab"."#unit__spike" ON "lab"."#unit__spike"."n" = "held"."unit_outbound"."n" AND "lab"."#unit__spike"."name" = "held"."unit_outbound"."name"
    WHERE "held"."unit_outbound".process = 'PULL' AND "held"."unit_outbound"._worker = 7 AND "held"."unit_outbound".is_flagged = 'FALSE' AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20)));

-- @link: keys in hand: (1, 'a')
SELECT "held"."unit_outbound"."n", "held"."unit_outbound"."name"::text
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound".process = 'PULL' AND "held"."unit_outbound"._worker = 7 AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20))
    ORDER BY "held"."unit_outbound"."n", "held"."unit_outbound"."name";

-- @link: keys: shared
SELECT "held"."unit_outbound"."n", "held"."unit_outbound"."name"::text
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'FALSE'
    AND EXISTS (SELECT 1
    FROM "lab"."#unit"
    WHERE "lab"."#unit"."n" = "held"."unit_outbound"."n" AND "lab"."#unit"."name" = "held"."unit_outbound"."name" AND (n > 3));

-- @link: keys: flagged
SELECT "held"."unit_outbound"."n", "held"."unit_outbound"."name"::text
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'TRUE'
    AND EXISTS (SELECT 1
    FROM "lab"."#unit"
    WHERE "lab"."#unit"."n" = "held"."unit_outbound"."n" AND "lab"."#unit"."name" = "held"."unit_outbound"."name" AND (n > 3));

-- @link: keys: unflagged
SELECT "held"."unit_outbound"."n", "held"."unit_outbound"."name"::text
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'FALSE' AND "held"."unit_outbound".is_deprecated = 'TRUE'
    AND EXISTS (SELECT 1
    FROM "lab"."#unit"
    WHERE "lab"."#unit"."n" = "held"."unit_outbound"."n" AND "lab"."#unit"."name" = "held"."unit_outbound"."name" AND (n > 3));

-- @link: keys: unsettled
SELECT "held"."unit_outbound"."n", "held"."unit_outbound"."name"::text
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'TRUE' AND "held"."unit_outbound".is_deprecated = 'FALSE'
    AND EXISTS (SELECT 1
    FROM "lab"."#unit"
    WHERE "lab"."#unit"."n" = "held"."unit_outbound"."n" AND "lab"."#unit"."name" = "held"."unit_outbound"."name" AND (n > 3));

-- @link: who holds what
SELECT COALESCE(SUM(CASE WHEN "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'FALSE' THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'TRUE' AND "held"."unit_outbound".is_deprecated = 'FALSE' THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'TRUE' AND "held"."unit_outbound".is_deprecated = 'TRUE' THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN "held"."unit_outbound".process IN ('PULL', 'DELETE') THEN 1 ELSE 0 END), 0), EXTRACT(EPOCH
    FROM MIN(CASE WHEN NOT ("held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'TRUE' AND "held"."unit_outbound".is_deprecated = 'TRUE') THEN _pulled END)), EXTRACT(EPOCH
    FROM MAX(CASE WHEN NOT ("held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'TRUE' AND "held"."unit_outbound".is_deprecated = 'TRUE') THEN _pulled END)), EXTRACT(EPOCH
    FROM MAX(CASE WHEN NOT ("held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'TRUE' AND "held"."unit_outbound".is_deprecated = 'TRUE') THEN _refreshed END)), EXTRACT(EPOCH
    FROM MIN(CASE WHEN "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'TRUE' AND "held"."unit_outbound".is_deprecated = 'FALSE' THEN _flagged END))
    FROM "held"."unit_outbound";

-- @link: the source flags
UPDATE "held"."unit_outbound"
    SET is_flagged = 'TRUE'
    WHERE "held"."unit_outbound".is_flagged = 'FALSE'
    AND EXISTS (SELECT 1
    FROM "lab"."#unit"
    WHERE "lab"."#unit"."n" = "held"."unit_outbound"."n" AND "lab"."#unit"."name" = "held"."unit_outbound"."name" AND (n > 3));

-- @link: the source unflags
UPDATE "held"."unit_outbound"
    SET is_flagged = 'FALSE'
    WHERE "held"."unit_outbound".is_flagged = 'TRUE';

-- @link: the source clears away what is deprecated: ('{1,2}', ['a', 'b'])
DELETE
    FROM "held"."unit_outbound" USING unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'TRUE' AND "held"."unit_outbound".is_deprecated = 'TRUE' THEN TRUE END;

-- @link: note what is refreshed: ('{1,2}', ['a', 'b'])
UPDATE "held"."unit_outbound"
    SET _refreshed = CURRENT_TIMESTAMP, _flagged = "held"."unit_outbound"._flagged
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'FALSE' THEN TRUE END;

-- @link: tell since when
SELECT EXTRACT(EPOCH
    FROM MIN(_pulled)), EXTRACT(EPOCH
    FROM MAX(_pulled)), EXTRACT(EPOCH
    FROM MAX(_refreshed)), EXTRACT(EPOCH
    FROM MIN(CASE WHEN "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'TRUE' AND "held"."unit_outbound".is_deprecated = 'FALSE' THEN _flagged END))
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_deprecated = 'FALSE';

-- @link: transition b, range: (1, 'a', 7, "it's 100%")
UPDATE "held"."unit_outbound"
    SET process = 'PULL', is_deprecated = 'FALSE', _worker = 7, _pulled = CURRENT_TIMESTAMP, _refreshed = NULL, _flagged = "held"."unit_outbound"._flagged
    WHERE "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'FALSE' AND "held"."unit_outbound".is_deprecated = 'TRUE' AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20));

-- @link: transition b, keys: ('{1,2}', ['a', 'b'])
UPDATE "held"."unit_outbound"
    SET process = 'PULL', is_deprecated = 'FALSE', _worker = 7, _pulled = CURRENT_TIMESTAMP, _refreshed = NULL, _flagged = "held"."unit_outbound"._flagged
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'FALSE' AND "held"."unit_outbound".is_deprecated = 'TRUE' THEN TRUE END;

-- @link: transition b, range: (1, 'a', 7, "it's 100%")
UPDATE "held"."unit_outbound"
    SET process = 'PULL', _worker = 7, _pulled = CURRENT_TIMESTAMP, _refreshed = NULL, _flagged = "held"."unit_outbound"._flagged
    WHERE "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'FALSE' AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20));

-- @link: transition b, keys: ('{1,2}', ['a', 'b'])
UPDATE "held"."unit_outbound"
    SET process = 'PULL', _worker = 7, _pulled = CURRENT_TIMESTAMP, _refreshed = NULL, _flagged = "held"."unit_outbound"._flagged
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'FALSE' THEN TRUE END;

-- @link: transition k, range: (1, 'a', 7, "it's 100%")
UPDATE "held"."unit_outbound"
    SET process = 'DELETE', _worker = 7, _flagged = "held"."unit_outbound"._flagged
    WHERE "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'FALSE' AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20));

-- @link: transition k, keys: ('{1,2}', ['a', 'b'])
UPDATE "held"."unit_outbound"
    SET process = 'DELETE', _worker = 7, _flagged = "held"."unit_outbound"._flagged
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'FALSE' THEN TRUE END;

-- @link: transition d, range: (7, 1, 'a', 7, "it's 100%")
UPDATE "held"."unit_outbound"
    SET process = 'NONE', is_deprecated = 'FALSE', _flagged = "held"."unit_outbound"._flagged
    WHERE "held"."unit_outbound".process = 'PULL' AND "held"."unit_outbound"._worker = %s AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20));

-- @link: transition d, keys: ('{1,2}', ['a', 'b'], 7)
UPDATE "held"."unit_outbound"
    SET process = 'NONE', is_deprecated = 'FALSE', _flagged = "held"."unit_outbound"._flagged
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN "held"."unit_outbound".process = 'PULL' AND "held"."unit_outbound"._worker = %s THEN TRUE END;

-- @link: transition e, range: (7, 1, 'a', 7, "it's 100%")
DELETE
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound".process = 'PULL' AND "held"."unit_outbound".is_flagged = 'FALSE' AND "held"."unit_outbound"._worker = %s AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20));

-- @link: transition e, keys: ('{1,2}', ['a', 'b'], 7)
DELETE
    FROM "held"."unit_outbound" USING unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN "held"."unit_outbound".process = 'PULL' AND "held"."unit_outbound".is_flagged = 'FALSE' AND "held"."unit_outbound"._worker = %s THEN TRUE END;

-- @link: transition f, range: (1, 'a', 7, "it's 100%")
UPDATE "held"."unit_outbound"
    SET process = 'DELETE', _worker = 7, _flagged = "held"."unit_outbound"._flagged
    WHERE "held"."unit_outbound".process IN ('NONE', 'PULL') AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20));

-- @link: transition f, keys: ('{1,2}', ['a', 'b'])
UPDATE "held"."unit_outbound"
    SET process = 'DELETE', _worker = 7, _flagged = "held"."unit_outbound"._flagged
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN "held"."unit_outbound".process IN ('NONE', 'PULL') THEN TRUE END;

-- @link: transition g, range: (7, 1, 'a', 7, "it's 100%")
UPDATE "held"."unit_outbound"
    SET process = 'NONE', _flagged = "held"."unit_outbound"._flagged
    WHERE "held"."unit_outbound".process = 'DELETE' AND "held"."unit_outbound"._worker = %s AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20));

-- @link: transition g, keys: ('{1,2}', ['a', 'b'], 7)
UPDATE "held"."unit_outbound"
    SET process = 'NONE', _flagged = "held"."unit_outbound"._flagged
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN "held"."unit_outbound".process = 'DELETE' AND "held"."unit_outbound"._worker = %s THEN TRUE END;

-- @link: transition h, range: (7, 1, 'a', 7, "it's 100%")
DELETE
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound".process = 'DELETE' AND "held"."unit_outbound".is_flagged = 'FALSE' AND "held"."unit_outbound"._worker = %s AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20));

-- @link: transition h, keys: ('{1,2}', ['a', 'b'], 7)
DELETE
    FROM "held"."unit_outbound" USING unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN "held"."unit_outbound".process = 'DELETE' AND "held"."unit_outbound".is_flagged = 'FALSE' AND "held"."unit_outbound"._worker = %s THEN TRUE END;

-- @link: transition i, range: (7, 1, 'a', 7, "it's 100%")
UPDATE "held"."unit_outbound"
    SET process = 'NONE', is_deprecated = 'TRUE', _flagged = "held"."unit_outbound"._flagged
    WHERE "held"."unit_outbound".process = 'DELETE' AND "held"."unit_outbound".is_flagged = 'TRUE' AND "held"."unit_outbound"._worker = %s AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20));

-- @link: transition i, keys: ('{1,2}', ['a', 'b'], 7)
UPDATE "held"."unit_outbound"
    SET process = 'NONE', is_deprecated = 'TRUE', _flagged = "held"."unit_outbound"._flagged
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN "held"."unit_outbound".process = 'DELETE' AND "held"."unit_outbound".is_flagged = 'TRUE' AND "held"."unit_outbound"._worker = %s THEN TRUE END;

-- @link: transition j, range: (1, 'a', 7, "it's 100%")
UPDATE "held"."unit_outbound"
    SET is_deprecated = 'TRUE', _flagged = "held"."unit_outbound"._flagged
    WHERE "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'TRUE' AND "held"."unit_outbound".is_deprecated = 'FALSE' AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20));

-- @link: transition j, keys: ('{1,2}', ['a', 'b'])
UPDATE "held"."unit_outbound"
    SET is_deprecated = 'TRUE', _flagged = "held"."unit_outbound"._flagged
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'TRUE' AND "held"."unit_outbound".is_deprecated = 'FALSE' THEN TRUE END;

-- @link: transition m, range: (1, 'a', 7, "it's 100%")
DELETE
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'FALSE' AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20));

-- @link: transition m, keys: ('{1,2}', ['a', 'b'])
DELETE
    FROM "held"."unit_outbound" USING unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'FALSE' THEN TRUE END;

-- dj_link: which rows are shared
EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~holding"
    WHERE "lab"."#unit"."n" = "~holding"."n" AND "lab"."#unit"."name" = "~holding"."name" AND CASE WHEN "~holding"._process = 'NONE'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "~holding"."n" AND "~part"."name" = "~holding"."name")
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_approved" "~part"
    WHERE "~part"."n" = "~holding"."n" AND "~part"."name" = "~holding"."name") THEN TRUE END);

-- dj_link: adopt: (7, 3)
UPDATE "held"."unit_outbound"
    SET _worker = %s
    WHERE "held"."unit_outbound"._process IN ('PULL', 'DELETE') AND _worker IN (%s);

-- dj_link: survey, at rest
SELECT COUNT(*), COALESCE(SUM(CASE WHEN "held"."unit_outbound"._process = 'NONE'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name")
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_approved" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") THEN 1 ELSE 0 END), 0)
    FROM "held"."unit_outbound"
    WHERE EXISTS (SELECT 1
    FROM "lab"."#unit"
    WHERE "lab"."#unit"."n" = "held"."unit_outbound"."n" AND "lab"."#unit"."name" = "held"."unit_outbound"."name" AND (n > 3));

-- dj_link: survey, others
SELECT "held"."unit_outbound"._process, CASE WHEN EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") THEN 'TRUE' ELSE 'FALSE' END, CASE WHEN EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_approved" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") THEN 'TRUE' ELSE 'FALSE' END, CASE WHEN "held"."unit_outbound"._process IN ('PULL', 'DELETE') THEN _worker ELSE 0 END, COUNT(*)
    FROM "held"."unit_outbound"
    WHERE NOT ("held"."unit_outbound"._process = 'NONE'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name")
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_approved" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name"))
    GROUP BY 1, 2, 3, 4;

-- dj_link: what a refresh leaves alone
SELECT COUNT(*), COALESCE(SUM(CASE WHEN "held"."unit_outbound"._process IN ('PULL', 'DELETE') THEN 1 ELSE 0 END), 0)
    FROM "held"."unit_outbound"
    WHERE EXISTS (SELECT 1
    FROM "lab"."#unit"
    WHERE "lab"."#unit"."n" = "held"."unit_outbound"."n" AND "lab"."#unit"."name" = "held"."unit_outbound"."name" AND (n > 3)) AND NOT ("held"."unit_outbound"._process = 'NONE'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name"));

-- dj_link: claim a range: (1, 'a', 7, "it's 100%")
INSERT INTO "held"."unit_outbound" ("n", "name", "_process", "_worker")
    SELECT "lab"."#unit"."n", "lab"."#unit"."name", 'PULL', 7
    FROM "lab"."#unit"
    WHERE NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~held"
    WHERE "~held"."n" = "lab"."#unit"."n" AND "~held"."name" = "lab"."#unit"."name") AND ("lab"."#unit"."n", "lab"."#unit"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("lab"."#unit"."n", "lab"."#unit"."name") <= ((%s)::integer, (%s)::character varying(20))
    ON CONFLICT DO NOTHING;

-- dj_link: claim a range that nobody holds anything of: (1, 'a', 7, "it's 100%")
INSERT INTO "held"."unit_outbound" ("n", "name", "_process", "_worker")
    SELECT "lab"."#unit"."n", "lab"."#unit"."name", 'PULL', 7
    FROM "lab"."#unit"
    WHERE (n > 3) AND ("lab"."#unit"."n", "lab"."#unit"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("lab"."#unit"."n", "lab"."#unit"."name") <= ((%s)::integer, (%s)::character varying(20))
    ON CONFLICT DO NOTHING;

-- dj_link: claim keys: ('{1,2}', ['a', 'b'])
INSERT INTO "held"."unit_outbound" ("n", "name", "_process", "_worker")
    SELECT "lab"."#unit"."n", "lab"."#unit"."name", 'PULL', 7
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1") JOIN "lab"."#unit" ON "lab"."#unit"."n" = ("~keys"."~0")::integer AND "lab"."#unit"."name" = ("~keys"."~1")::character varying(20)
    WHERE NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~held"
    WHERE "~held"."n" = "lab"."#unit"."n" AND "~held"."name" = "lab"."#unit"."name") AND (n > 3)
    ON CONFLICT DO NOTHING;

-- dj_link: count what nobody holds
SELECT COUNT(*)
    FROM "lab"."#unit"
    WHERE NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~held"
    WHERE "~held"."n" = "lab"."#unit"."n" AND "~held"."name" = "lab"."#unit"."name") AND (n > 3);

-- dj_link: rows of a chunk, master: (1, 'a', 7, 'b')
FROM "held"."unit_outbound" JOIN "lab"."#unit" ON "lab"."#unit"."n" = "held"."unit_outbound"."n" AND "lab"."#unit"."name" = "held"."unit_outbound"."name"
    WHERE "held"."unit_outbound"._process = 'PULL' AND "held"."unit_outbound"._worker = 7
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20))
    ORDER BY "held"."unit_outbound"."n", "held"."unit_outbound"."name";

-- dj_link: rows of a chunk, part: (1, 'a', 7, 'b')
FROM "held"."unit_outbound" JOIN "lab"."#unit__spike" ON "lab"."#unit__spike"."n" = "held"."unit_outbound"."n" AND "lab"."#unit__spike"."name" = "held"."unit_outbound"."name"
    WHERE "held"."unit_outbound"._process = 'PULL' AND "held"."unit_outbound"._worker = 7
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20))
    ORDER BY "held"."unit_outbound"."n", "held"."unit_outbound"."name";

-- dj_link: rows of a whole chunk: (1, 'a', 7, 'b')
FROM "lab"."#unit__spike"
    WHERE ("lab"."#unit__spike"."n", "lab"."#unit__spike"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("lab"."#unit__spike"."n", "lab"."#unit__spike"."name") <= ((%s)::integer, (%s)::character varying(20))
    ORDER BY "lab"."#unit__spike"."n", "lab"."#unit__spike"."name";

-- dj_link: how many rows of a chunk: (1, 'a', 7, 'b', 1, 'a', 7, 'b')
SELECT (SELECT COUNT(*)
    FROM "held"."unit_outbound" JOIN "lab"."#unit" ON "lab"."#unit"."n" = "held"."unit_outbound"."n" AND "lab"."#unit"."name" = "held"."unit_outbound"."name"
    WHERE "held"."unit_outbound"._process = 'PULL' AND "held"."unit_outbound"._worker = 7
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20))), (SELECT COUNT(*)
    FROM "held"."unit_outbound" JOIN "lab"."#unit__spike" ON "lab"."#unit__spike"."n" = "held"."unit_outbound"."n" AND "lab"."#unit__spike"."name" = "held"."unit_outbound"."name"
    WHERE "held"."unit_outbound"._process = 'PULL' AND "held"."unit_outbound"._worker = 7
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20)));

-- dj_link: keys in hand: (1, 'a')
SELECT "held"."unit_outbound"."n", "held"."unit_outbound"."name"::text
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound"._process = 'PULL' AND "held"."unit_outbound"._worker = 7 AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20))
    ORDER BY "held"."unit_outbound"."n", "held"."unit_outbound"."name";

-- dj_link: keys: shared
SELECT "held"."unit_outbound"."n", "held"."unit_outbound"."name"::text
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound"._process = 'NONE'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name")
    AND EXISTS (SELECT 1
    FROM "lab"."#unit"
    WHERE "lab"."#unit"."n" = "held"."unit_outbound"."n" AND "lab"."#unit"."name" = "held"."unit_outbound"."name" AND (n > 3));

-- dj_link: keys: flagged
SELECT "held"."unit_outbound"."n", "held"."unit_outbound"."name"::text
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound"._process = 'NONE'
    AND EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name")
    AND EXISTS (SELECT 1
    FROM "lab"."#unit"
    WHERE "lab"."#unit"."n" = "held"."unit_outbound"."n" AND "lab"."#unit"."name" = "held"."unit_outbound"."name" AND (n > 3));

-- dj_link: keys: unflagged
SELECT "held"."unit_outbound"."n", "held"."unit_outbound"."name"::text
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound"._process = 'NONE'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name")
    AND EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_approved" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name")
    AND EXISTS (SELECT 1
    FROM "lab"."#unit"
    WHERE "lab"."#unit"."n" = "held"."unit_outbound"."n" AND "lab"."#unit"."name" = "held"."unit_outbound"."name" AND (n > 3));

-- dj_link: keys: unsettled
SELECT "held"."unit_outbound"."n", "held"."unit_outbound"."name"::text
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound"._process = 'NONE'
    AND EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name")
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_approved" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name")
    AND EXISTS (SELECT 1
    FROM "lab"."#unit"
    WHERE "lab"."#unit"."n" = "held"."unit_outbound"."n" AND "lab"."#unit"."name" = "held"."unit_outbound"."name" AND (n > 3));

-- dj_link: who holds what
SELECT COALESCE(SUM(CASE WHEN "held"."unit_outbound"._process = 'NONE'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN "held"."unit_outbound"._process = 'NONE'
    AND EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name")
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_approved" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN "held"."unit_outbound"._process = 'NONE'
    AND EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name")
    AND EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_approved" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN "held"."unit_outbound"._process IN ('PULL', 'DELETE') THEN 1 ELSE 0 END), 0)
    FROM "held"."unit_outbound";

-- dj_link: the source flags
INSERT INTO "held"."unit_outbound__deletion_requested" ("n", "name")
    SELECT "held"."unit_outbound"."n", "held"."unit_outbound"."name"
    FROM "held"."unit_outbound"
    WHERE NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name")
    AND EXISTS (SELECT 1
    FROM "lab"."#unit"
    WHERE "lab"."#unit"."n" = "held"."unit_outbound"."n" AND "lab"."#unit"."name" = "held"."unit_outbound"."name" AND (n > 3))
    ON CONFLICT DO NOTHING;

-- dj_link: the source unflags
DELETE
    FROM "held"."unit_outbound__deletion_requested" USING "held"."unit_outbound"
    WHERE "held"."unit_outbound"."n" = "held"."unit_outbound__deletion_requested"."n" AND "held"."unit_outbound"."name" = "held"."unit_outbound__deletion_requested"."name" AND CASE WHEN 1 = 1 THEN TRUE END;

-- dj_link: the source clears away what is deprecated: ('{1,2}', ['a', 'b'])
DELETE
    FROM "held"."unit_outbound__deletion_approved" USING unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound__deletion_approved"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound__deletion_approved"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN 1 = 1 THEN TRUE END;

-- dj_link: the source clears away what is deprecated: ('{1,2}', ['a', 'b'])
DELETE
    FROM "held"."unit_outbound__deletion_requested" USING unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound__deletion_requested"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound__deletion_requested"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN EXISTS (SELECT 1
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound"."n" = "held"."unit_outbound__deletion_requested"."n" AND "held"."unit_outbound"."name" = "held"."unit_outbound__deletion_requested"."name" AND "held"."unit_outbound"._process = 'NONE') THEN TRUE END;

-- dj_link: the source clears away what is deprecated: ('{1,2}', ['a', 'b'])
DELETE
    FROM "held"."unit_outbound" USING unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN 1 = 1 THEN TRUE END;

-- dj_link: transition b, range: (1, 'a', 7, "it's 100%")
UPDATE "held"."unit_outbound"
    SET _process = 'PULL', _worker = 7
    WHERE "held"."unit_outbound"._process = 'NONE'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name")
    AND EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_approved" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20));

-- dj_link: transition b, range: (7, 1, 'a', 7, "it's 100%")
DELETE
    FROM "held"."unit_outbound__deletion_approved"
    WHERE EXISTS (SELECT 1
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound"."n" = "held"."unit_outbound__deletion_approved"."n" AND "held"."unit_outbound"."name" = "held"."unit_outbound__deletion_approved"."name" AND "held"."unit_outbound"._process = 'PULL' AND "held"."unit_outbound"._worker = %s) AND ("held"."unit_outbound__deletion_approved"."n", "held"."unit_outbound__deletion_approved"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound__deletion_approved"."n", "held"."unit_outbound__deletion_approved"."name") <= ((%s)::integer, (%s)::character varying(20));

-- dj_link: transition b, keys: ('{1,2}', ['a', 'b'])
UPDATE "held"."unit_outbound"
    SET _process = 'PULL', _worker = 7
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN "held"."unit_outbound"._process = 'NONE'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name")
    AND EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_approved" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") THEN TRUE END;

-- dj_link: transition b, keys: ('{1,2}', ['a', 'b'], 7)
DELETE
    FROM "held"."unit_outbound__deletion_approved" USING unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound__deletion_approved"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound__deletion_approved"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN EXISTS (SELECT 1
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound"."n" = "held"."unit_outbound__deletion_approved"."n" AND "held"."unit_outbound"."name" = "held"."unit_outbound__deletion_approved"."name" AND "held"."unit_outbound"._process = 'PULL' AND "held"."unit_outbound"._worker = %s) THEN TRUE END;

-- dj_link: transition b, range: (1, 'a', 7, "it's 100%")
UPDATE "held"."unit_outbound"
    SET _process = 'PULL', _worker = 7
    WHERE "held"."unit_outbound"._process = 'NONE'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20));

-- dj_link: transition b, keys: ('{1,2}', ['a', 'b'])
UPDATE "held"."unit_outbound"
    SET _process = 'PULL', _worker = 7
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN "held"."unit_outbound"._process = 'NONE'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") THEN TRUE END;

-- dj_link: transition k, range: (1, 'a', 7, "it's 100%")
UPDATE "held"."unit_outbound"
    SET _process = 'DELETE', _worker = 7
    WHERE "held"."unit_outbound"._process = 'NONE'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20));

-- dj_link: transition k, keys: ('{1,2}', ['a', 'b'])
UPDATE "held"."unit_outbound"
    SET _process = 'DELETE', _worker = 7
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN "held"."unit_outbound"._process = 'NONE'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") THEN TRUE END;

-- dj_link: transition d, range: (7, 1, 'a', 7, "it's 100%")
DELETE
    FROM "held"."unit_outbound__deletion_approved"
    WHERE EXISTS (SELECT 1
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound"."n" = "held"."unit_outbound__deletion_approved"."n" AND "held"."unit_outbound"."name" = "held"."unit_outbound__deletion_approved"."name" AND "held"."unit_outbound"._process = 'PULL' AND "held"."unit_outbound"._worker = %s) AND ("held"."unit_outbound__deletion_approved"."n", "held"."unit_outbound__deletion_approved"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound__deletion_approved"."n", "held"."unit_outbound__deletion_approved"."name") <= ((%s)::integer, (%s)::character varying(20));

-- dj_link: transition d, range: (7, 1, 'a', 7, "it's 100%")
UPDATE "held"."unit_outbound"
    SET _process = 'NONE'
    WHERE "held"."unit_outbound"._process = 'PULL' AND "held"."unit_outbound"._worker = %s AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20));

-- dj_link: transition d, keys: ('{1,2}', ['a', 'b'], 7)
DELETE
    FROM "held"."unit_outbound__deletion_approved" USING unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound__deletion_approved"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound__deletion_approved"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN EXISTS (SELECT 1
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound"."n" = "held"."unit_outbound__deletion_approved"."n" AND "held"."unit_outbound"."name" = "held"."unit_outbound__deletion_approved"."name" AND "held"."unit_outbound"._process = 'PULL' AND "held"."unit_outbound"._worker = %s) THEN TRUE END;

-- dj_link: transition d, keys: ('{1,2}', ['a', 'b'], 7)
UPDATE "held"."unit_outbound"
    SET _process = 'NONE'
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN "held"."unit_outbound"._process = 'PULL' AND "held"."unit_outbound"._worker = %s THEN TRUE END;

-- dj_link: transition e, range: (7, 1, 'a', 7, "it's 100%")
DELETE
    FROM "held"."unit_outbound__deletion_approved"
    WHERE EXISTS (SELECT 1
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound"."n" = "held"."unit_outbound__deletion_approved"."n" AND "held"."unit_outbound"."name" = "held"."unit_outbound__deletion_approved"."name" AND "held"."unit_outbound"._process = 'PULL'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") AND "held"."unit_outbound"._worker = %s) AND ("held"."unit_outbound__deletion_approved"."n", "held"."unit_outbound__deletion_approved"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound__deletion_approved"."n", "held"."unit_outbound__deletion_approved"."name") <= ((%s)::integer, (%s)::character varying(20));

-- dj_link: transition e, range: (7, 1, 'a', 7, "it's 100%")
DELETE
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound"._process = 'PULL'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") AND "held"."unit_outbound"._worker = %s AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20));

-- dj_link: transition e, keys: ('{1,2}', ['a', 'b'], 7)
DELETE
    FROM "held"."unit_outbound__deletion_approved" USING unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound__deletion_approved"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound__deletion_approved"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN EXISTS (SELECT 1
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound"."n" = "held"."unit_outbound__deletion_approved"."n" AND "held"."unit_outbound"."name" = "held"."unit_outbound__deletion_approved"."name" AND "held"."unit_outbound"._process = 'PULL'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") AND "held"."unit_outbound"._worker = %s) THEN TRUE END;

-- dj_link: transition e, keys: ('{1,2}', ['a', 'b'], 7)
DELETE
    FROM "held"."unit_outbound" USING unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN "held"."unit_outbound"._process = 'PULL'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") AND "held"."unit_outbound"._worker = %s THEN TRUE END;

-- dj_link: transition f, range: (1, 'a', 7, "it's 100%")
UPDATE "held"."unit_outbound"
    SET _process = 'DELETE', _worker = 7
    WHERE "held"."unit_outbound"._process IN ('NONE', 'PULL') AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20));

-- dj_link: transition f, keys: ('{1,2}', ['a', 'b'])
UPDATE "held"."unit_outbound"
    SET _process = 'DELETE', _worker = 7
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN "held"."unit_outbound"._process IN ('NONE', 'PULL') THEN TRUE END;

-- dj_link: transition g, range: (7, 1, 'a', 7, "it's 100%")
UPDATE "held"."unit_outbound"
    SET _process = 'NONE'
    WHERE "held"."unit_outbound"._process = 'DELETE' AND "held"."unit_outbound"._worker = %s AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20));

-- dj_link: transition g, keys: ('{1,2}', ['a', 'b'], 7)
UPDATE "held"."unit_outbound"
    SET _process = 'NONE'
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN "held"."unit_outbound"._process = 'DELETE' AND "held"."unit_outbound"._worker = %s THEN TRUE END;

-- dj_link: transition h, range: (7, 1, 'a', 7, "it's 100%")
DELETE
    FROM "held"."unit_outbound__deletion_approved"
    WHERE EXISTS (SELECT 1
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound"."n" = "held"."unit_outbound__deletion_approved"."n" AND "held"."unit_outbound"."name" = "held"."unit_outbound__deletion_approved"."name" AND "held"."unit_outbound"._process = 'DELETE'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") AND "held"."unit_outbound"._worker = %s) AND ("held"."unit_outbound__deletion_approved"."n", "held"."unit_outbound__deletion_approved"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound__deletion_approved"."n", "held"."unit_outbound__deletion_approved"."name") <= ((%s)::integer, (%s)::character varying(20));

-- dj_link: transition h, range: (7, 1, 'a', 7, "it's 100%")
DELETE
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound"._process = 'DELETE'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") AND "held"."unit_outbound"._worker = %s AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20));

-- dj_link: transition h, keys: ('{1,2}', ['a', 'b'], 7)
DELETE
    FROM "held"."unit_outbound__deletion_approved" USING unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound__deletion_approved"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound__deletion_approved"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN EXISTS (SELECT 1
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound"."n" = "held"."unit_outbound__deletion_approved"."n" AND "held"."unit_outbound"."name" = "held"."unit_outbound__deletion_approved"."name" AND "held"."unit_outbound"._process = 'DELETE'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") AND "held"."unit_outbound"._worker = %s) THEN TRUE END;

-- dj_link: transition h, keys: ('{1,2}', ['a', 'b'], 7)
DELETE
    FROM "held"."unit_outbound" USING unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN "held"."unit_outbound"._process = 'DELETE'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") AND "held"."unit_outbound"._worker = %s THEN TRUE END;

-- dj_link: transition i, range: (7, 1, 'a', 7, "it's 100%")
INSERT INTO "held"."unit_outbound__deletion_approved" ("n", "name")
    SELECT "held"."unit_outbound"."n", "held"."unit_outbound"."name" 
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound"._process = 'DELETE'
    AND EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") AND "held"."unit_outbound"._worker = %s AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20))
    ON CONFLICT DO NOTHING;

-- dj_link: transition i, range: (7, 1, 'a', 7, "it's 100%")
UPDATE "held"."unit_outbound"
    SET _process = 'NONE'
    WHERE "held"."unit_outbound"._process = 'DELETE'
    AND EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") AND "held"."unit_outbound"._worker = %s AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20));

-- dj_link: transition i, keys: ('{1,2}', ['a', 'b'], 7)
INSERT INTO "held"."unit_outbound__deletion_approved" ("n", "name")
    SELECT "held"."unit_outbound"."n", "held"."unit_outbound"."name" 
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1") JOIN "held"."unit_outbound" ON "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20)
    WHERE "held"."unit_outbound"._process = 'DELETE'
    AND EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") AND "held"."unit_outbound"._worker = %s
    ON CONFLICT DO NOTHING;

-- dj_link: transition i, keys: ('{1,2}', ['a', 'b'], 7)
UPDATE "held"."unit_outbound"
    SET _process = 'NONE'
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN "held"."unit_outbound"._process = 'DELETE'
    AND EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") AND "held"."unit_outbound"._worker = %s THEN TRUE END;

-- dj_link: transition j, range: (1, 'a', 7, "it's 100%")
INSERT INTO "held"."unit_outbound__deletion_approved" ("n", "name")
    SELECT "held"."unit_outbound"."n", "held"."unit_outbound"."name" 
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound"._process = 'NONE'
    AND EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name")
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_approved" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20))
    ON CONFLICT DO NOTHING;

-- dj_link: transition j, keys: ('{1,2}', ['a', 'b'])
INSERT INTO "held"."unit_outbound__deletion_approved" ("n", "name")
    SELECT "held"."unit_outbound"."n", "held"."unit_outbound"."name" 
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1") JOIN "held"."unit_outbound" ON "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20)
    WHERE "held"."unit_outbound"._process = 'NONE'
    AND EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name")
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_approved" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name")
    ON CONFLICT DO NOTHING;

-- dj_link: transition m, range: (1, 'a', 7, "it's 100%")
DELETE
    FROM "held"."unit_outbound__deletion_approved"
    WHERE EXISTS (SELECT 1
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound"."n" = "held"."unit_outbound__deletion_approved"."n" AND "held"."unit_outbound"."name" = "held"."unit_outbound__deletion_approved"."name" AND "held"."unit_outbound"._process = 'NONE'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name")) AND ("held"."unit_outbound__deletion_approved"."n", "held"."unit_outbound__deletion_approved"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound__deletion_approved"."n", "held"."unit_outbound__deletion_approved"."name") <= ((%s)::integer, (%s)::character varying(20));

-- dj_link: transition m, range: (1, 'a', 7, "it's 100%")
DELETE
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound"._process = 'NONE'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("held"."unit_outbound"."n", "held"."unit_outbound"."name") <= ((%s)::integer, (%s)::character varying(20));

-- dj_link: transition m, keys: ('{1,2}', ['a', 'b'])
DELETE
    FROM "held"."unit_outbound__deletion_approved" USING unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound__deletion_approved"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound__deletion_approved"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN EXISTS (SELECT 1
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound"."n" = "held"."unit_outbound__deletion_approved"."n" AND "held"."unit_outbound"."name" = "held"."unit_outbound__deletion_approved"."name" AND "held"."unit_outbound"._process = 'NONE'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name")) THEN TRUE END;

-- dj_link: transition m, keys: ('{1,2}', ['a', 'b'])
DELETE
    FROM "held"."unit_outbound" USING unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "held"."unit_outbound"."n" = ("~keys"."~0")::integer AND "held"."unit_outbound"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN "held"."unit_outbound"._process = 'NONE'
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound__deletion_requested" "~part"
    WHERE "~part"."n" = "held"."unit_outbound"."n" AND "~part"."name" = "held"."unit_outbound"."name") THEN TRUE END;

-- ask for what others have in hand
SELECT EXISTS (SELECT 1
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound".process IN ('PULL', 'DELETE') AND "held"."unit_outbound"._worker <> 4711), EXISTS (SELECT 1
    FROM "held"."rate_outbound"
    WHERE "held"."rate_outbound".process IN ('PULL', 'DELETE') AND "held"."rate_outbound"._worker <> 4711), EXISTS (SELECT 1
    FROM "held"."note_outbound"
    WHERE "held"."note_outbound".process IN ('PULL', 'DELETE') AND "held"."note_outbound"._worker <> 4711), (SELECT COUNT(*)
    FROM (SELECT 1
    FROM "lab"."#unit"
    WHERE 1 = 1 LIMIT 65) "~some");

-- hold what is referred to: Rate.n: (1, 'a')
INSERT INTO "held"."unit_outbound" ("n", "name", "process", "is_flagged", "is_deprecated", "_worker", "_pulled", "_refreshed")
    SELECT "lab"."#unit"."n", "lab"."#unit"."name", 'PULL', 'FALSE', 'FALSE', 4711, CURRENT_TIMESTAMP, NULL
    FROM (SELECT DISTINCT "held"."rate_outbound"."n" AS "n", "held"."rate_outbound"."name" AS "name"
    FROM "held"."rate_outbound"
    WHERE "held"."rate_outbound".process = 'PULL' AND "held"."rate_outbound"._worker = 4711 AND ("held"."rate_outbound"."n", "held"."rate_outbound"."name", "held"."rate_outbound"."bin") > ((%s)::integer, (%s)::character varying(20), (%s)::integer)) "~referred" JOIN "lab"."#unit" ON "lab"."#unit"."n" = "~referred"."n" AND "lab"."#unit"."name" = "~referred"."name"
    WHERE NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~held"
    WHERE "~referred"."n" = "~held"."n" AND "~referred"."name" = "~held"."name")
    ON CONFLICT DO NOTHING;

-- let go of what depends on what is not held
DELETE
    FROM "held"."rate_outbound"
    WHERE "held"."rate_outbound".process = 'PULL' AND "held"."rate_outbound"._worker = 4711 AND "held"."rate_outbound".is_flagged = 'FALSE' AND (NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~held"
    WHERE "~held"."n" = "held"."rate_outbound"."n" AND "~held"."name" = "held"."rate_outbound"."name"));

-- take in hand again what is needed
SELECT COUNT(*)
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'FALSE' AND (EXISTS (SELECT 1
    FROM "held"."rate_outbound"
    WHERE "held"."unit_outbound"."n" = "held"."rate_outbound"."n" AND "held"."unit_outbound"."name" = "held"."rate_outbound"."name" AND "held"."rate_outbound".process = 'PULL' AND "held"."rate_outbound"._worker = 4711));

-- refers to what nobody holds, or is flagged
NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~held"
    WHERE "~held"."n" = "held"."rate_outbound"."n" AND "~held"."name" = "held"."rate_outbound"."name");

-- refers to what nobody holds, or is flagged
EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~held"
    WHERE "~held"."n" = "held"."rate_outbound"."n" AND "~held"."name" = "held"."rate_outbound"."name" AND CASE WHEN "~held".is_flagged = 'TRUE' THEN TRUE END);

-- what shared entities refer to
EXISTS (SELECT 1
    FROM "held"."rate_outbound"
    WHERE "lab"."#unit"."n" = "held"."rate_outbound"."n" AND "lab"."#unit"."name" = "held"."rate_outbound"."name" AND "held"."rate_outbound".process = 'NONE' AND "held"."rate_outbound".is_flagged = 'FALSE'
    AND EXISTS (SELECT 1
    FROM "lab"."__rate"
    WHERE "lab"."__rate"."n" = "held"."rate_outbound"."n" AND "lab"."__rate"."name" = "held"."rate_outbound"."name" AND "lab"."__rate"."bin" = "held"."rate_outbound"."bin" AND (n > 3)));

-- hold what is referred to: Rate.Beside.of_n: (1, 'a')
INSERT INTO "held"."unit_outbound" ("n", "name", "process", "is_flagged", "is_deprecated", "_worker", "_pulled", "_refreshed")
    SELECT "lab"."#unit"."n", "lab"."#unit"."name", 'PULL', 'FALSE', 'FALSE', 4711, CURRENT_TIMESTAMP, NULL
    FROM (SELECT DISTINCT "lab"."__rate__beside"."of_n" AS "n", "lab"."__rate__beside"."of_name" AS "name"
    FROM "held"."rate_outbound" JOIN "lab"."__rate__beside" ON "lab"."__rate__beside"."n" = "held"."rate_outbound"."n" AND "lab"."__rate__beside"."name" = "held"."rate_outbound"."name" AND "lab"."__rate__beside"."bin" = "held"."rate_outbound"."bin"
    WHERE "held"."rate_outbound".process = 'PULL' AND "held"."rate_outbound"._worker = 4711 AND ("held"."rate_outbound"."n", "held"."rate_outbound"."name", "held"."rate_outbound"."bin") > ((%s)::integer, (%s)::character varying(20), (%s)::integer) AND "lab"."__rate__beside"."of_n" IS NOT NULL AND "lab"."__rate__beside"."of_name" IS NOT NULL) "~referred" JOIN "lab"."#unit" ON "lab"."#unit"."n" = "~referred"."n" AND "lab"."#unit"."name" = "~referred"."name"
    WHERE NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~held"
    WHERE "~referred"."n" = "~held"."n" AND "~referred"."name" = "~held"."name")
    ON CONFLICT DO NOTHING;

-- let go of what depends on what is not held
DELETE
    FROM "held"."rate_outbound"
    WHERE "held"."rate_outbound".process = 'PULL' AND "held"."rate_outbound"._worker = 4711 AND "held"."rate_outbound".is_flagged = 'FALSE' AND (EXISTS (SELECT 1
    FROM "lab"."__rate__beside"
    WHERE "lab"."__rate__beside"."n" = "held"."rate_outbound"."n" AND "lab"."__rate__beside"."name" = "held"."rate_outbound"."name" AND "lab"."__rate__beside"."bin" = "held"."rate_outbound"."bin" AND "lab"."__rate__beside"."of_n" IS NOT NULL AND "lab"."__rate__beside"."of_name" IS NOT NULL
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~held"
    WHERE "~held"."n" = "lab"."__rate__beside"."of_n" AND "~held"."name" = "lab"."__rate__beside"."of_name")));

-- take in hand again what is needed
SELECT COUNT(*)
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'FALSE' AND (EXISTS (SELECT 1
    FROM "held"."rate_outbound" JOIN "lab"."__rate__beside" ON "lab"."__rate__beside"."n" = "held"."rate_outbound"."n" AND "lab"."__rate__beside"."name" = "held"."rate_outbound"."name" AND "lab"."__rate__beside"."bin" = "held"."rate_outbound"."bin"
    WHERE "held"."unit_outbound"."n" = "lab"."__rate__beside"."of_n" AND "held"."unit_outbound"."name" = "lab"."__rate__beside"."of_name" AND "lab"."__rate__beside"."of_n" IS NOT NULL AND "lab"."__rate__beside"."of_name" IS NOT NULL AND "held"."rate_outbound".process = 'PULL' AND "held"."rate_outbound"._worker = 4711));

-- refers to what nobody holds, or is flagged
EXISTS (SELECT 1
    FROM "lab"."__rate__beside"
    WHERE "lab"."__rate__beside"."n" = "held"."rate_outbound"."n" AND "lab"."__rate__beside"."name" = "held"."rate_outbound"."name" AND "lab"."__rate__beside"."bin" = "held"."rate_outbound"."bin" AND "lab"."__rate__beside"."of_n" IS NOT NULL AND "lab"."__rate__beside"."of_name" IS NOT NULL
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~held"
    WHERE "~held"."n" = "lab"."__rate__beside"."of_n" AND "~held"."name" = "lab"."__rate__beside"."of_name"));

-- refers to what nobody holds, or is flagged
EXISTS (SELECT 1
    FROM "lab"."__rate__beside"
    WHERE "lab"."__rate__beside"."n" = "held"."rate_outbound"."n" AND "lab"."__rate__beside"."name" = "held"."rate_outbound"."name" AND "lab"."__rate__beside"."bin" = "held"."rate_outbound"."bin" AND "lab"."__rate__beside"."of_n" IS NOT NULL AND "lab"."__rate__beside"."of_name" IS NOT NULL
    AND EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~held"
    WHERE "~held"."n" = "lab"."__rate__beside"."of_n" AND "~held"."name" = "lab"."__rate__beside"."of_name" AND CASE WHEN "~held".is_flagged = 'TRUE' THEN TRUE END));

-- what shared entities refer to
EXISTS (SELECT 1
    FROM "lab"."__rate__beside" JOIN "held"."rate_outbound" ON "lab"."__rate__beside"."n" = "held"."rate_outbound"."n" AND "lab"."__rate__beside"."name" = "held"."rate_outbound"."name" AND "lab"."__rate__beside"."bin" = "held"."rate_outbound"."bin"
    WHERE "lab"."#unit"."n" = "lab"."__rate__beside"."of_n" AND "lab"."#unit"."name" = "lab"."__rate__beside"."of_name" AND "lab"."__rate__beside"."of_n" IS NOT NULL AND "lab"."__rate__beside"."of_name" IS NOT NULL AND "held"."rate_outbound".process = 'NONE' AND "held"."rate_outbound".is_flagged = 'FALSE'
    AND EXISTS (SELECT 1
    FROM "lab"."__rate"
    WHERE "lab"."__rate"."n" = "held"."rate_outbound"."n" AND "lab"."__rate"."name" = "held"."rate_outbound"."name" AND "lab"."__rate"."bin" = "held"."rate_outbound"."bin" AND (n > 3)));

-- hold what is referred to: Note.spike: (1,)
INSERT INTO "held"."unit_outbound" ("n", "name", "process", "is_flagged", "is_deprecated", "_worker", "_pulled", "_refreshed")
    SELECT "lab"."#unit"."n", "lab"."#unit"."name", 'PULL', 'FALSE', 'FALSE', 4711, CURRENT_TIMESTAMP, NULL
    FROM (SELECT DISTINCT "~through"."n" AS "n", "~through"."name" AS "name"
    FROM "held"."note_outbound" JOIN ("lab"."note" JOIN "lab"."#unit__spike" "~through" ON "~through"."spike" = "lab"."note"."spike") ON "lab"."note"."n" = "held"."note_outbound"."n"
    WHERE "held"."note_outbound".process = 'PULL' AND "held"."note_outbound"._worker = 4711 AND ("held"."note_outbound"."n") > ((%s)::integer) AND "lab"."note"."spike" IS NOT NULL) "~referred" JOIN "lab"."#unit" ON "lab"."#unit"."n" = "~referred"."n" AND "lab"."#unit"."name" = "~referred"."name"
    WHERE NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~held"
    WHERE "~referred"."n" = "~held"."n" AND "~referred"."name" = "~held"."name")
    ON CONFLICT DO NOTHING;

-- let go of what depends on what is not held
DELETE
    FROM "held"."note_outbound"
    WHERE "held"."note_outbound".process = 'PULL' AND "held"."note_outbound"._worker = 4711 AND "held"."note_outbound".is_flagged = 'FALSE' AND (EXISTS (SELECT 1
    FROM ("lab"."note" JOIN "lab"."#unit__spike" "~through" ON "~through"."spike" = "lab"."note"."spike")
    WHERE "lab"."note"."n" = "held"."note_outbound"."n" AND "lab"."note"."spike" IS NOT NULL
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~held"
    WHERE "~held"."n" = "~through"."n" AND "~held"."name" = "~through"."name")));

-- take in hand again what is needed
SELECT COUNT(*)
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_flagged = 'FALSE' AND (EXISTS (SELECT 1
    FROM "held"."note_outbound" JOIN ("lab"."note" JOIN "lab"."#unit__spike" "~through" ON "~through"."spike" = "lab"."note"."spike") ON "lab"."note"."n" = "held"."note_outbound"."n"
    WHERE "held"."unit_outbound"."n" = "~through"."n" AND "held"."unit_outbound"."name" = "~through"."name" AND "lab"."note"."spike" IS NOT NULL AND "held"."note_outbound".process = 'PULL' AND "held"."note_outbound"._worker = 4711));

-- refers to what nobody holds, or is flagged
EXISTS (SELECT 1
    FROM ("lab"."note" JOIN "lab"."#unit__spike" "~through" ON "~through"."spike" = "lab"."note"."spike")
    WHERE "lab"."note"."n" = "held"."note_outbound"."n" AND "lab"."note"."spike" IS NOT NULL
    AND NOT EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~held"
    WHERE "~held"."n" = "~through"."n" AND "~held"."name" = "~through"."name"));

-- refers to what nobody holds, or is flagged
EXISTS (SELECT 1
    FROM ("lab"."note" JOIN "lab"."#unit__spike" "~through" ON "~through"."spike" = "lab"."note"."spike")
    WHERE "lab"."note"."n" = "held"."note_outbound"."n" AND "lab"."note"."spike" IS NOT NULL
    AND EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~held"
    WHERE "~held"."n" = "~through"."n" AND "~held"."name" = "~through"."name" AND CASE WHEN "~held".is_flagged = 'TRUE' THEN TRUE END));

-- what shared entities refer to
EXISTS (SELECT 1
    FROM ("lab"."note" JOIN "lab"."#unit__spike" "~through" ON "~through"."spike" = "lab"."note"."spike") JOIN "held"."note_outbound" ON "lab"."note"."n" = "held"."note_outbound"."n"
    WHERE "lab"."#unit"."n" = "~through"."n" AND "lab"."#unit"."name" = "~through"."name" AND "lab"."note"."spike" IS NOT NULL AND "held"."note_outbound".process = 'NONE' AND "held"."note_outbound".is_flagged = 'FALSE'
    AND EXISTS (SELECT 1
    FROM "lab"."note"
    WHERE "lab"."note"."n" = "held"."note_outbound"."n" AND (n > 3)));

-- let go of what nothing needs
DELETE
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound".process = 'PULL' AND "held"."unit_outbound"._worker = 4711 AND "held"."unit_outbound".is_flagged = 'FALSE' AND NOT (EXISTS (SELECT 1
    FROM "held"."rate_outbound"
    WHERE "held"."unit_outbound"."n" = "held"."rate_outbound"."n" AND "held"."unit_outbound"."name" = "held"."rate_outbound"."name") OR EXISTS (SELECT 1
    FROM "held"."rate_outbound" JOIN "lab"."__rate__beside" ON "lab"."__rate__beside"."n" = "held"."rate_outbound"."n" AND "lab"."__rate__beside"."name" = "held"."rate_outbound"."name" AND "lab"."__rate__beside"."bin" = "held"."rate_outbound"."bin"
    WHERE "held"."unit_outbound"."n" = "lab"."__rate__beside"."of_n" AND "held"."unit_outbound"."name" = "lab"."__rate__beside"."of_name" AND "lab"."__rate__beside"."of_n" IS NOT NULL AND "lab"."__rate__beside"."of_name" IS NOT NULL) OR EXISTS (SELECT 1
    FROM "held"."note_outbound" JOIN ("lab"."note" JOIN "lab"."#unit__spike" "~through" ON "~through"."spike" = "lab"."note"."spike") ON "lab"."note"."n" = "held"."note_outbound"."n"
    WHERE "held"."unit_outbound"."n" = "~through"."n" AND "held"."unit_outbound"."name" = "~through"."name" AND "lab"."note"."spike" IS NOT NULL) OR EXISTS (SELECT 1
    FROM "lab"."#unit"
    WHERE "lab"."#unit"."n" = "held"."unit_outbound"."n" AND "lab"."#unit"."name" = "held"."unit_outbound"."name" AND (n > 3)));

-- is anything flagged
SELECT 0, EXISTS (SELECT 1
    FROM "held"."unit_outbound"
    WHERE "held"."unit_outbound".is_flagged = 'TRUE');

-- plan: all that is needed
WITH "~selected0" ("~0", "~1", "~2") AS (SELECT "lab"."__rate"."n", "lab"."__rate"."name", "lab"."__rate"."bin"
    FROM "lab"."__rate"
    WHERE ((n > 3) OR (bin = 7))), "~referred1" ("~0", "~1") AS (SELECT DISTINCT "lab"."__rate__beside"."of_n", "lab"."__rate__beside"."of_name"
    FROM "~selected0" JOIN "lab"."__rate__beside" ON "lab"."__rate__beside"."n" = "~selected0"."~0" AND "lab"."__rate__beside"."name" = "~selected0"."~1" AND "lab"."__rate__beside"."bin" = "~selected0"."~2"
    WHERE "lab"."__rate__beside"."of_n" IS NOT NULL AND "lab"."__rate__beside"."of_name" IS NOT NULL), "~selected2" ("~0") AS (SELECT "lab"."note"."n"
    FROM "lab"."note"
    WHERE ((n > 3))), "~referred3" ("~0", "~1") AS (SELECT DISTINCT "lab"."#unit__spike"."n", "lab"."#unit__spike"."name"
    FROM "~selected2" JOIN "lab"."note" ON "lab"."note"."n" = "~selected2"."~0" JOIN "lab"."#unit__spike" ON "lab"."#unit__spike"."spike" = "lab"."note"."spike"
    WHERE "lab"."note"."spike" IS NOT NULL), "~needed4" ("~0", "~1") AS (SELECT "~0", "~1"
    FROM "~selected0" UNION
    SELECT "~0", "~1"
    FROM "~referred1" UNION
    SELECT "~0", "~1"
    FROM "~referred3"), "~unheld5" ("~0", "~1") AS (SELECT "~needed4"."~0", "~needed4"."~1"
    FROM "~needed4" LEFT JOIN "held"."unit_outbound" ON "held"."unit_outbound"."n" = "~needed4"."~0" AND "held"."unit_outbound"."name" = "~needed4"."~1" AND CASE WHEN "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_deprecated = 'FALSE' THEN TRUE END
    WHERE "held"."unit_outbound"."n" IS NULL)
    SELECT 0, COUNT(*), 0, 0
    FROM "~needed4" JOIN "lab"."#unit" ON "lab"."#unit"."n" = "~needed4"."~0" AND "lab"."#unit"."name" = "~needed4"."~1" UNION ALL
    SELECT 1, COUNT(*), 0, 0
    FROM "~unheld5" JOIN "lab"."#unit" ON "lab"."#unit"."n" = "~unheld5"."~0" AND "lab"."#unit"."name" = "~unheld5"."~1" UNION ALL
    SELECT 2, COUNT(*), COUNT("lab"."#unit"."wave"), COALESCE(SUM(CASE WHEN json_typeof("lab"."#unit"."wave"::json -> 'size') = 'number' THEN ("lab"."#unit"."wave"::json -> 'size')::text::numeric END), 0)
    FROM "~unheld5" JOIN "lab"."#unit" ON "lab"."#unit"."n" = "~unheld5"."~0" AND "lab"."#unit"."name" = "~unheld5"."~1" UNION ALL
    SELECT 3, COUNT(*), COALESCE(SUM("~size"), 0), 0
    FROM (SELECT COALESCE(pg_column_size("lab"."#unit"."n"), 0)+COALESCE(pg_column_size("lab"."#unit"."name"), 0)+COALESCE(pg_column_size("lab"."#unit"."x"), 0)+COALESCE(pg_column_size("lab"."#unit"."wave"), 0) AS "~size"
    FROM "~unheld5" JOIN "lab"."#unit" ON "lab"."#unit"."n" = "~unheld5"."~0" AND "lab"."#unit"."name" = "~unheld5"."~1" LIMIT 1000) AS "~sample" UNION ALL
    SELECT 4, COUNT(*), 0, 0
    FROM "~unheld5" JOIN "lab"."#unit__spike" ON "lab"."#unit__spike"."n" = "~unheld5"."~0" AND "lab"."#unit__spike"."name" = "~unheld5"."~1" UNION ALL
    SELECT 5, COUNT(*), 0, 0
    FROM "~selected0" UNION ALL
    SELECT 6, COUNT(*), 0, 0
    FROM "~selected0" JOIN "lab"."__rate__beside" ON "lab"."__rate__beside"."n" = "~selected0"."~0" AND "lab"."__rate__beside"."name" = "~selected0"."~1" AND "lab"."__rate__beside"."bin" = "~selected0"."~2" UNION ALL
    SELECT 7, COUNT(*), 0, 0
    FROM "~selected2";

-- plan: what is selected
(((n > 3))) AND NOT (EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~asked"
    WHERE "~asked"."n" = "lab"."#unit"."n" AND "~asked"."name" = "lab"."#unit"."name" AND "~asked".is_flagged = 'TRUE'));

-- plan: what is selected
(EXISTS (SELECT 1
    FROM "lab"."#unit"
    WHERE "lab"."#unit"."n" = "lab"."__rate"."n" AND "lab"."#unit"."name" = "lab"."__rate"."name"
    AND ((n > 3))) OR EXISTS (SELECT 1
    FROM "lab"."__rate__beside"
    WHERE "lab"."__rate__beside"."n" = "lab"."__rate"."n" AND "lab"."__rate__beside"."name" = "lab"."__rate"."name" AND "lab"."__rate__beside"."bin" = "lab"."__rate"."bin" AND "lab"."__rate__beside"."of_n" IS NOT NULL AND "lab"."__rate__beside"."of_name" IS NOT NULL AND (EXISTS (SELECT 1
    FROM "lab"."#unit"
    WHERE "lab"."#unit"."n" = "lab"."__rate__beside"."of_n" AND "lab"."#unit"."name" = "lab"."__rate__beside"."of_name"
    AND ((n > 3)))))) AND NOT (EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~asked"
    WHERE "~asked"."n" = "lab"."__rate"."n" AND "~asked"."name" = "lab"."__rate"."name" AND "~asked".is_flagged = 'TRUE') OR EXISTS (SELECT 1
    FROM "lab"."__rate__beside"
    WHERE "lab"."__rate__beside"."n" = "lab"."__rate"."n" AND "lab"."__rate__beside"."name" = "lab"."__rate"."name" AND "lab"."__rate__beside"."bin" = "lab"."__rate"."bin" AND "lab"."__rate__beside"."of_n" IS NOT NULL AND "lab"."__rate__beside"."of_name" IS NOT NULL AND (EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~asked"
    WHERE "~asked"."n" = "lab"."__rate__beside"."of_n" AND "~asked"."name" = "lab"."__rate__beside"."of_name" AND "~asked".is_flagged = 'TRUE'))));

-- plan: what is selected
(EXISTS (SELECT 1
    FROM "lab"."#unit__spike" "~through 0"
    WHERE "~through 0"."spike" = "lab"."note"."spike" AND "lab"."note"."spike" IS NOT NULL AND (EXISTS (SELECT 1
    FROM "lab"."#unit"
    WHERE "lab"."#unit"."n" = "~through 0"."n" AND "lab"."#unit"."name" = "~through 0"."name"
    AND ((n > 3)))))) AND NOT (EXISTS (SELECT 1
    FROM "lab"."#unit__spike" "~through 0"
    WHERE "~through 0"."spike" = "lab"."note"."spike" AND "lab"."note"."spike" IS NOT NULL AND (EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~asked"
    WHERE "~asked"."n" = "~through 0"."n" AND "~asked"."name" = "~through 0"."name" AND "~asked".is_flagged = 'TRUE'))));

-- plan: all that is derived
WITH "~selected0" ("~0", "~1") AS (SELECT "lab"."#unit"."n", "lab"."#unit"."name"
    FROM "lab"."#unit"
    WHERE ((n > 3))), "~spared1" ("~0", "~1") AS (SELECT "~selected0"."~0", "~selected0"."~1"
    FROM "~selected0"
    WHERE NOT (EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~asked"
    WHERE "~asked"."n" = "~selected0"."~0" AND "~asked"."name" = "~selected0"."~1" AND "~asked".is_flagged = 'TRUE'))), "~selected2" ("~0", "~1", "~2") AS (SELECT "lab"."__rate"."n", "lab"."__rate"."name", "lab"."__rate"."bin"
    FROM "~selected0" JOIN "lab"."__rate" ON "lab"."__rate"."n" = "~selected0"."~0" AND "lab"."__rate"."name" = "~selected0"."~1" UNION
    SELECT DISTINCT "lab"."__rate__beside"."n", "lab"."__rate__beside"."name", "lab"."__rate__beside"."bin"
    FROM "~selected0" JOIN "lab"."__rate__beside" ON "lab"."__rate__beside"."of_n" = "~selected0"."~0" AND "lab"."__rate__beside"."of_name" = "~selected0"."~1"
    WHERE "lab"."__rate__beside"."of_n" IS NOT NULL AND "lab"."__rate__beside"."of_name" IS NOT NULL), "~spared3" ("~0", "~1", "~2") AS (SELECT "~selected2"."~0", "~selected2"."~1", "~selected2"."~2"
    FROM "~selected2"
    WHERE NOT (EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~asked"
    WHERE "~asked"."n" = "~selected2"."~0" AND "~asked"."name" = "~selected2"."~1" AND "~asked".is_flagged = 'TRUE') OR EXISTS (SELECT 1
    FROM "lab"."__rate__beside"
    WHERE "lab"."__rate__beside"."n" = "~selected2"."~0" AND "lab"."__rate__beside"."name" = "~selected2"."~1" AND "lab"."__rate__beside"."bin" = "~selected2"."~2" AND "lab"."__rate__beside"."of_n" IS NOT NULL AND "lab"."__rate__beside"."of_name" IS NOT NULL AND (EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~asked"
    WHERE "~asked"."n" = "lab"."__rate__beside"."of_n" AND "~asked"."name" = "lab"."__rate__beside"."of_name" AND "~asked".is_flagged = 'TRUE'))))), "~referred4" ("~0", "~1") AS (SELECT DISTINCT "lab"."__rate__beside"."of_n", "lab"."__rate__beside"."of_name"
    FROM "~spared3" JOIN "lab"."__rate__beside" ON "lab"."__rate__beside"."n" = "~spared3"."~0" AND "lab"."__rate__beside"."name" = "~spared3"."~1" AND "lab"."__rate__beside"."bin" = "~spared3"."~2"
    WHERE "lab"."__rate__beside"."of_n" IS NOT NULL AND "lab"."__rate__beside"."of_name" IS NOT NULL), "~selected5" ("~0") AS (SELECT "lab"."note"."n"
    FROM "~selected0" JOIN "lab"."#unit__spike" ON "lab"."#unit__spike"."n" = "~selected0"."~0" AND "lab"."#unit__spike"."name" = "~selected0"."~1" JOIN "lab"."note" ON "lab"."#unit__spike"."spike" = "lab"."note"."spike"
    WHERE "lab"."note"."spike" IS NOT NULL), "~spared6" ("~0") AS (SELECT "~selected5"."~0"
    FROM "~selected5"
    WHERE NOT (EXISTS (SELECT 1
    FROM "lab"."note" JOIN "lab"."#unit__spike" "~through 0" ON "~through 0"."spike" = "lab"."note"."spike"
    WHERE "lab"."note"."n" = "~selected5"."~0" AND "lab"."note"."spike" IS NOT NULL AND (EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~asked"
    WHERE "~asked"."n" = "~through 0"."n" AND "~asked"."name" = "~through 0"."name" AND "~asked".is_flagged = 'TRUE'))))), "~referred7" ("~0", "~1") AS (SELECT DISTINCT "lab"."#unit__spike"."n", "lab"."#unit__spike"."name"
    FROM "~spared6" JOIN "lab"."note" ON "lab"."note"."n" = "~spared6"."~0" JOIN "lab"."#unit__spike" ON "lab"."#unit__spike"."spike" = "lab"."note"."spike"
    WHERE "lab"."note"."spike" IS NOT NULL), "~needed8" ("~0", "~1") AS (SELECT "~0", "~1"
    FROM "~spared1" UNION
    SELECT "~0", "~1"
    FROM "~spared3" UNION
    SELECT "~0", "~1"
    FROM "~referred4" UNION
    SELECT "~0", "~1"
    FROM "~referred7"), "~unheld9" ("~0", "~1") AS (SELECT "~needed8"."~0", "~needed8"."~1"
    FROM "~needed8" LEFT JOIN "held"."unit_outbound" ON "held"."unit_outbound"."n" = "~needed8"."~0" AND "held"."unit_outbound"."name" = "~needed8"."~1" AND CASE WHEN "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_deprecated = 'FALSE' THEN TRUE END
    WHERE "held"."unit_outbound"."n" IS NULL)
    SELECT 0, COUNT(*), 0, 0
    FROM "~needed8" JOIN "lab"."#unit" ON "lab"."#unit"."n" = "~needed8"."~0" AND "lab"."#unit"."name" = "~needed8"."~1" UNION ALL
    SELECT 1, COUNT(*), 0, 0
    FROM "~unheld9" JOIN "lab"."#unit" ON "lab"."#unit"."n" = "~unheld9"."~0" AND "lab"."#unit"."name" = "~unheld9"."~1" UNION ALL
    SELECT 2, COUNT(*), 0, 0
    FROM "~selected0" LEFT JOIN "held"."unit_outbound" ON "held"."unit_outbound"."n" = "~selected0"."~0" AND "held"."unit_outbound"."name" = "~selected0"."~1" AND CASE WHEN "held"."unit_outbound".process = 'NONE' AND "held"."unit_outbound".is_deprecated = 'FALSE' THEN TRUE END
    WHERE "held"."unit_outbound"."n" IS NULL AND (EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~asked"
    WHERE "~asked"."n" = "~selected0"."~0" AND "~asked"."name" = "~selected0"."~1" AND "~asked".is_flagged = 'TRUE')) UNION ALL
    SELECT 3, COUNT(*), 0, 0
    FROM "~unheld9" JOIN "lab"."#unit__spike" ON "lab"."#unit__spike"."n" = "~unheld9"."~0" AND "lab"."#unit__spike"."name" = "~unheld9"."~1" UNION ALL
    SELECT 4, COUNT(*), 0, 0
    FROM "~spared3" JOIN "lab"."__rate" ON "lab"."__rate"."n" = "~spared3"."~0" AND "lab"."__rate"."name" = "~spared3"."~1" AND "lab"."__rate"."bin" = "~spared3"."~2" UNION ALL
    SELECT 5, COUNT(*), 0, 0
    FROM "~selected2"
    WHERE 1 = 1 AND (EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~asked"
    WHERE "~asked"."n" = "~selected2"."~0" AND "~asked"."name" = "~selected2"."~1" AND "~asked".is_flagged = 'TRUE') OR EXISTS (SELECT 1
    FROM "lab"."__rate__beside"
    WHERE "lab"."__rate__beside"."n" = "~selected2"."~0" AND "lab"."__rate__beside"."name" = "~selected2"."~1" AND "lab"."__rate__beside"."bin" = "~selected2"."~2" AND "lab"."__rate__beside"."of_n" IS NOT NULL AND "lab"."__rate__beside"."of_name" IS NOT NULL AND (EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~asked"
    WHERE "~asked"."n" = "lab"."__rate__beside"."of_n" AND "~asked"."name" = "lab"."__rate__beside"."of_name" AND "~asked".is_flagged = 'TRUE')))) UNION ALL
    SELECT 6, COUNT(*), 0, 0
    FROM "~spared3" JOIN "lab"."__rate__beside" ON "lab"."__rate__beside"."n" = "~spared3"."~0" AND "lab"."__rate__beside"."name" = "~spared3"."~1" AND "lab"."__rate__beside"."bin" = "~spared3"."~2" UNION ALL
    SELECT 7, COUNT(*), 0, 0
    FROM "~spared6" JOIN "lab"."note" ON "lab"."note"."n" = "~spared6"."~0" UNION ALL
    SELECT 8, COUNT(*), 0, 0
    FROM "~selected5"
    WHERE 1 = 1 AND (EXISTS (SELECT 1
    FROM "lab"."note" JOIN "lab"."#unit__spike" "~through 0" ON "~through 0"."spike" = "lab"."note"."spike"
    WHERE "lab"."note"."n" = "~selected5"."~0" AND "lab"."note"."spike" IS NOT NULL AND (EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~asked"
    WHERE "~asked"."n" = "~through 0"."n" AND "~asked"."name" = "~through 0"."name" AND "~asked".is_flagged = 'TRUE'))));

-- plan: read what is needed: ('{1}', ['a'], '{2}')
WITH "~told0" ("~0", "~1", "~2") AS (SELECT "lab"."__rate"."n", "lab"."__rate"."name", "lab"."__rate"."bin"
    FROM unnest(%s::integer[], %s::text[], %s::integer[]) AS "~keys"("~0", "~1", "~2") JOIN "lab"."__rate" ON "lab"."__rate"."n" = ("~keys"."~0")::integer AND "lab"."__rate"."name" = ("~keys"."~1")::character varying(20) AND "lab"."__rate"."bin" = ("~keys"."~2")::integer), "~spared1" ("~0", "~1", "~2") AS (SELECT "~told0"."~0", "~told0"."~1", "~told0"."~2"
    FROM "~told0"
    WHERE NOT (EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~asked"
    WHERE "~asked"."n" = "~told0"."~0" AND "~asked"."name" = "~told0"."~1" AND "~asked".is_flagged = 'TRUE') OR EXISTS (SELECT 1
    FROM "lab"."__rate__beside"
    WHERE "lab"."__rate__beside"."n" = "~told0"."~0" AND "lab"."__rate__beside"."name" = "~told0"."~1" AND "lab"."__rate__beside"."bin" = "~told0"."~2" AND "lab"."__rate__beside"."of_n" IS NOT NULL AND "lab"."__rate__beside"."of_name" IS NOT NULL AND (EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~asked"
    WHERE "~asked"."n" = "lab"."__rate__beside"."of_n" AND "~asked"."name" = "lab"."__rate__beside"."of_name" AND "~asked".is_flagged = 'TRUE')))))
    SELECT "lab"."__rate"."n", "lab"."__rate"."name"::text, "lab"."__rate"."bin"
    FROM "~spared1" JOIN "lab"."__rate" ON "lab"."__rate"."n" = "~spared1"."~0" AND "lab"."__rate"."name" = "~spared1"."~1" AND "lab"."__rate"."bin" = "~spared1"."~2" LIMIT 20;

-- plan: which keys are needed: ('{1}', ['a'], '{2}', '{1,2}', ['a', 'b'], '{1,2}', ['a', 'b'])
WITH "~told0" ("~0", "~1", "~2") AS (SELECT "lab"."__rate"."n", "lab"."__rate"."name", "lab"."__rate"."bin"
    FROM unnest(%s::integer[], %s::text[], %s::integer[]) AS "~keys"("~0", "~1", "~2") JOIN "lab"."__rate" ON "lab"."__rate"."n" = ("~keys"."~0")::integer AND "lab"."__rate"."name" = ("~keys"."~1")::character varying(20) AND "lab"."__rate"."bin" = ("~keys"."~2")::integer), "~spared1" ("~0", "~1", "~2") AS (SELECT "~told0"."~0", "~told0"."~1", "~told0"."~2"
    FROM "~told0"
    WHERE NOT (EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~asked"
    WHERE "~asked"."n" = "~told0"."~0" AND "~asked"."name" = "~told0"."~1" AND "~asked".is_flagged = 'TRUE') OR EXISTS (SELECT 1
    FROM "lab"."__rate__beside"
    WHERE "lab"."__rate__beside"."n" = "~told0"."~0" AND "lab"."__rate__beside"."name" = "~told0"."~1" AND "lab"."__rate__beside"."bin" = "~told0"."~2" AND "lab"."__rate__beside"."of_n" IS NOT NULL AND "lab"."__rate__beside"."of_name" IS NOT NULL AND (EXISTS (SELECT 1
    FROM "held"."unit_outbound" "~asked"
    WHERE "~asked"."n" = "lab"."__rate__beside"."of_n" AND "~asked"."name" = "lab"."__rate__beside"."of_name" AND "~asked".is_flagged = 'TRUE'))))), "~told2" ("~0", "~1") AS (SELECT "lab"."#unit"."n", "lab"."#unit"."name"
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1") JOIN "lab"."#unit" ON "lab"."#unit"."n" = ("~keys"."~0")::integer AND "lab"."#unit"."name" = ("~keys"."~1")::character varying(20))
    SELECT "lab"."#unit"."n", "lab"."#unit"."name"::text
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1") JOIN "lab"."#unit" ON "lab"."#unit"."n" = ("~keys"."~0")::integer AND "lab"."#unit"."name" = ("~keys"."~1")::character varying(20)
    WHERE ("lab"."#unit"."n", "lab"."#unit"."name") IN (SELECT "~told2"."~0", "~told2"."~1"
    FROM "~told2");

-- plan: what is selected, by a set
("lab"."__rate"."n", "lab"."__rate"."name", "lab"."__rate"."bin") IN (WITH "~selected0" ("~0", "~1") AS (SELECT "lab"."#unit"."n", "lab"."#unit"."name"
    FROM "lab"."#unit"
    WHERE ((n > 3))), "~selected1" ("~0", "~1", "~2") AS (SELECT "lab"."__rate"."n", "lab"."__rate"."name", "lab"."__rate"."bin"
    FROM "~selected0" JOIN "lab"."__rate" ON "lab"."__rate"."n" = "~selected0"."~0" AND "lab"."__rate"."name" = "~selected0"."~1" UNION
    SELECT DISTINCT "lab"."__rate__beside"."n", "lab"."__rate__beside"."name", "lab"."__rate__beside"."bin"
    FROM "~selected0" JOIN "lab"."__rate__beside" ON "lab"."__rate__beside"."of_n" = "~selected0"."~0" AND "lab"."__rate__beside"."of_name" = "~selected0"."~1"
    WHERE "lab"."__rate__beside"."of_n" IS NOT NULL AND "lab"."__rate__beside"."of_name" IS NOT NULL)
    SELECT "~selected1"."~0", "~selected1"."~1", "~selected1"."~2"
    FROM "~selected1");

-- checksum of keys, alike True
SELECT SUM(hashtextextended(concat_ws(',', quote_literal("lab"."#unit"."n"::text), quote_literal("lab"."#unit"."name"::text)) COLLATE "C", 0))
    FROM "lab"."#unit"
    WHERE 1 = 1;

-- comparable rows, alike True
SELECT encode(sha256(record_send(ROW("lab"."#unit"."n", convert_to("lab"."#unit"."name"::text, 'UTF8'), CASE WHEN "lab"."#unit"."x" = 'NaN' THEN 'NaN' ELSE "lab"."#unit"."x" END, "lab"."#unit"."wave"))), 'hex');

-- checksum of keys, alike False
SELECT SUM(('x' || left(encode(sha256(convert_to(concat_ws(',', "lab"."#unit"."n", char_length("lab"."#unit"."name"::text), "lab"."#unit"."name"::text), 'UTF8')), 'hex'), 8))::bit(32)::bigint)
    FROM "lab"."#unit"
    WHERE 1 = 1;

-- comparable rows, alike False
SELECT "lab"."#unit"."n", "lab"."#unit"."name"::text, "lab"."#unit"."x"::float8, CASE WHEN octet_length("lab"."#unit"."wave") > 1000 THEN 'sha256:' || encode(sha256("lab"."#unit"."wave"), 'hex') ELSE encode("lab"."#unit"."wave", 'hex') END;

-- digest of rows
SELECT SUM(('x' || encode(substring(sha256(record_send(ROW("lab"."#unit"."n", convert_to("lab"."#unit"."name"::text, 'UTF8'), CASE WHEN "lab"."#unit"."x" = 'NaN' THEN 'NaN' ELSE "lab"."#unit"."x" END, "lab"."#unit"."wave"))) for 8), 'hex'))::bit(64)::bigint)
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1") JOIN "lab"."#unit" ON "lab"."#unit"."n" = ("~keys"."~0")::integer AND "lab"."#unit"."name" = ("~keys"."~1")::character varying(20);

-- digest of a key
SELECT hashtextextended(concat_ws(',', quote_literal("lab"."#unit"."n"::text), quote_literal("lab"."#unit"."name"::text)) COLLATE "C", 0);

-- bucket of a key
SELECT hashtextextended(concat_ws(',', quote_literal("lab"."#unit"."n"::text), quote_literal("lab"."#unit"."name"::text)) COLLATE "C", 0) & 255;

-- bucket of a key
SELECT hashint8extended("lab"."#unit"."n"::bigint, 0) & 255;

-- digests by group
SELECT "~0", COUNT(*), SUM(digest)
    FROM (SELECT hashtextextended(concat_ws(',', quote_literal("lab"."#unit"."n"::text), quote_literal("lab"."#unit"."name"::text)) COLLATE "C", 0) & 1023 AS "~0", ('x' || encode(substring(sha256(record_send(ROW("lab"."#unit"."n", convert_to("lab"."#unit"."name"::text, 'UTF8'), CASE WHEN "lab"."#unit"."x" = 'NaN' THEN 'NaN' ELSE "lab"."#unit"."x" END, "lab"."#unit"."wave"))) for 8), 'hex'))::bit(64)::bigint AS digest
    FROM "lab"."#unit" UNION ALL
    SELECT NULL, 0::bigint
    WHERE FALSE) AS "~digests"
    GROUP BY "~0";

-- rows of groups
hashtextextended(concat_ws(',', quote_literal("lab"."#unit"."n"::text), quote_literal("lab"."#unit"."name"::text)) COLLATE "C", 0) & 1023 IN (7, 9);

-- digests by group
SELECT "~0", "~1"::text, COUNT(*), SUM(digest)
    FROM (SELECT "lab"."#unit"."n" AS "~0", "lab"."#unit"."name" AS "~1", ('x' || encode(substring(sha256(record_send(ROW("lab"."#unit"."n", convert_to("lab"."#unit"."name"::text, 'UTF8'), CASE WHEN "lab"."#unit"."x" = 'NaN' THEN 'NaN' ELSE "lab"."#unit"."x" END, "lab"."#unit"."wave"))) for 8), 'hex'))::bit(64)::bigint AS digest
    FROM "lab"."#unit" UNION ALL
    SELECT NULL, NULL, 0::bigint
    WHERE FALSE) AS "~digests"
    GROUP BY "~0", "~1";

-- rows of groups: (1, 'a', 2, 'b')
(("lab"."#unit"."n" = (%s)::integer AND "lab"."#unit"."name" = (%s)::character varying(20)) OR ("lab"."#unit"."n" = (%s)::integer AND "lab"."#unit"."name" = (%s)::character varying(20)));

-- digests by group
SELECT "~0", COUNT(*), SUM(digest)
    FROM (SELECT "lab"."#unit"."n" / 64 AS "~0", ('x' || encode(substring(sha256(record_send(ROW("lab"."#unit"."n", convert_to("lab"."#unit"."name"::text, 'UTF8'), CASE WHEN "lab"."#unit"."x" = 'NaN' THEN 'NaN' ELSE "lab"."#unit"."x" END, "lab"."#unit"."wave"))) for 8), 'hex'))::bit(64)::bigint AS digest
    FROM "lab"."#unit" UNION ALL
    SELECT NULL, 0::bigint
    WHERE FALSE) AS "~digests"
    GROUP BY "~0";

-- rows of groups
(("lab"."#unit"."n" BETWEEN -63 AND 63) OR ("lab"."#unit"."n" BETWEEN 192 AND 255) OR ("lab"."#unit"."n" BETWEEN -127 AND -64));

-- look up keys: ('{1,2}', ['a', 'b'])
FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1") JOIN "lab"."#unit" ON "lab"."#unit"."n" = ("~keys"."~0")::integer AND "lab"."#unit"."name" = ("~keys"."~1")::character varying(20);

-- read keys that travel
SELECT "lab"."#unit"."n", "lab"."#unit"."name"::text COLLATE "C";

-- keys that travel
SELECT ("~keys"."~0")::integer, ("~keys"."~1")::character varying(20)
    FROM unnest(E'{1,2}'::integer[], E'{"a","b"}'::text[]) AS "~keys"("~0", "~1");

-- delete keys: ('{1,2}', ['a', 'b'])
DELETE
    FROM "lab"."#unit" USING unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1")
    WHERE "lab"."#unit"."n" = ("~keys"."~0")::integer AND "lab"."#unit"."name" = ("~keys"."~1")::character varying(20) AND CASE WHEN 1 = 1 THEN TRUE END;

-- read what is deleted next
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;

-- read what is deleted next
SELECT "lab"."#unit"."n", "lab"."#unit"."name"::text
    FROM "lab"."#unit";

-- make a temporary table
DROP TABLE IF EXISTS "pg_temp"."~refresh_0";

-- make a temporary table
CREATE TEMPORARY TABLE "~refresh_0" AS
    SELECT "n", "name", "x", "wave"
    FROM "here"."unit"
    WHERE 1 = 0;

-- make a temporary table
ALTER TABLE "pg_temp"."~refresh_0" ADD PRIMARY KEY ("n", "name");

-- lock what is refreshed
SELECT COUNT(*)
    FROM (SELECT 1
    FROM "pg_temp"."~refresh_0" JOIN "here"."unit" ON "here"."unit"."n" = "pg_temp"."~refresh_0"."n" AND "here"."unit"."name" = "pg_temp"."~refresh_0"."name" FOR NO KEY UPDATE) AS "~locked";

-- remove part rows that have gone
DELETE
    FROM "here"."unit__spike" USING "pg_temp"."~refresh_0"
    WHERE "here"."unit__spike"."n" = "pg_temp"."~refresh_0"."n" AND "here"."unit__spike"."name" = "pg_temp"."~refresh_0"."name" AND CASE WHEN NOT EXISTS (SELECT 1
    FROM "pg_temp"."~refresh_1" "~staged"
    WHERE "~staged"."n" = "here"."unit__spike"."n" AND "~staged"."name" = "here"."unit__spike"."name" AND "~staged"."spike" = "here"."unit__spike"."spike") THEN TRUE END;

-- change what differs
UPDATE "here"."unit"
    SET "name" = "pg_temp"."~refresh_0"."name", "x" = "pg_temp"."~refresh_0"."x", "wave" = "pg_temp"."~refresh_0"."wave"
    FROM "pg_temp"."~refresh_0"
    WHERE "here"."unit"."n" = "pg_temp"."~refresh_0"."n" AND "here"."unit"."name" = "pg_temp"."~refresh_0"."name" AND ROW("here"."unit"."name", "here"."unit"."x", "here"."unit"."wave")::record *<> ROW("pg_temp"."~refresh_0"."name", "pg_temp"."~refresh_0"."x", "pg_temp"."~refresh_0"."wave")::record;

-- change what differs of a part
UPDATE "here"."unit__spike"
    SET "name" = "pg_temp"."~refresh_1"."name", "spike" = "pg_temp"."~refresh_1"."spike"
    FROM "pg_temp"."~refresh_1"
    WHERE "here"."unit__spike"."n" = "pg_temp"."~refresh_1"."n" AND "here"."unit__spike"."name" = "pg_temp"."~refresh_1"."name" AND "here"."unit__spike"."spike" = "pg_temp"."~refresh_1"."spike" AND ROW("here"."unit__spike"."name", "here"."unit__spike"."spike")::record *<> ROW("pg_temp"."~refresh_1"."name", "pg_temp"."~refresh_1"."spike")::record;

-- change all of a range: (1, 'a', 7, "it's 100%")
UPDATE "here"."unit"
    SET "x" = "pg_temp"."~refresh_0"."x", "wave" = "pg_temp"."~refresh_0"."wave"
    FROM "pg_temp"."~refresh_0"
    WHERE "here"."unit"."n" = "pg_temp"."~refresh_0"."n" AND "here"."unit"."name" = "pg_temp"."~refresh_0"."name" AND ROW("here"."unit"."n", "here"."unit"."name")::record *= ROW("pg_temp"."~refresh_0"."n", "pg_temp"."~refresh_0"."name")::record AND ROW("here"."unit"."x", "here"."unit"."wave")::record *<> ROW("pg_temp"."~refresh_0"."x", "pg_temp"."~refresh_0"."wave")::record AND ("here"."unit"."n", "here"."unit"."name") > ((%s)::integer, (%s)::character varying(20)) AND ("here"."unit"."n", "here"."unit"."name") <= ((%s)::integer, (%s)::character varying(20));

-- add part rows that are new
INSERT INTO "here"."unit__spike" ("n", "name", "spike")
    SELECT "pg_temp"."~refresh_1"."n", "pg_temp"."~refresh_1"."name", "pg_temp"."~refresh_1"."spike"
    FROM "pg_temp"."~refresh_1"
    WHERE NOT EXISTS (SELECT 1
    FROM "here"."unit__spike" "~there"
    WHERE "~there"."n" = "pg_temp"."~refresh_1"."n" AND "~there"."name" = "pg_temp"."~refresh_1"."name" AND "~there"."spike" = "pg_temp"."~refresh_1"."spike");

-- compare what has become of it, where there are triggers
SELECT COUNT(*), COALESCE(SUM(CASE WHEN encode(sha256(record_send(ROW("pg_temp"."~refresh_0"."n", convert_to("pg_temp"."~refresh_0"."name"::text, 'UTF8'), CASE WHEN "pg_temp"."~refresh_0"."x" = 'NaN' THEN 'NaN' ELSE "pg_temp"."~refresh_0"."x" END, "pg_temp"."~refresh_0"."wave"))), 'hex') = encode(sha256(record_send(ROW("here"."unit"."n", convert_to("here"."unit"."name"::text, 'UTF8'), CASE WHEN "here"."unit"."x" = 'NaN' THEN 'NaN' ELSE "here"."unit"."x" END, "here"."unit"."wave"))), 'hex') THEN 1 ELSE 0 END), 0)
    FROM "pg_temp"."~refresh_0" LEFT JOIN "here"."unit" ON "here"."unit"."n" = "pg_temp"."~refresh_0"."n" AND "here"."unit"."name" = "pg_temp"."~refresh_0"."name";

-- make a temporary table of keys
DROP TABLE IF EXISTS "pg_temp"."~stale_2";

-- make a temporary table of keys
CREATE TEMPORARY TABLE "~stale_2" AS
    SELECT "n"
    FROM "there"."__rate"
    WHERE 1 = 0;

-- make a temporary table of keys
ALTER TABLE "pg_temp"."~stale_2" ADD PRIMARY KEY ("n");

-- list the keys of entities: ('{1,2}', ['a', 'b'])
INSERT INTO "pg_temp"."~stale_0" ("n", "name")
    SELECT DISTINCT "here"."unit"."n", "here"."unit"."name"
    FROM unnest(%s::integer[], %s::text[]) AS "~keys"("~0", "~1") JOIN "here"."unit" ON "here"."unit"."n" = ("~keys"."~0")::integer AND "here"."unit"."name" = ("~keys"."~1")::character varying(20)
    ON CONFLICT DO NOTHING;

-- list what refers to them
INSERT INTO "pg_temp"."~stale_2" ("n")
    SELECT DISTINCT "there"."__rate"."n"
    FROM "pg_temp"."~stale_0" JOIN "there"."__rate" ON "there"."__rate"."unit" = "pg_temp"."~stale_0"."n" AND "there"."__rate"."name" = "pg_temp"."~stale_0"."name"
    ON CONFLICT DO NOTHING;

-- list what refers to another column of them
INSERT INTO "pg_temp"."~stale_2" ("n")
    SELECT DISTINCT "there"."__rate"."n"
    FROM "pg_temp"."~stale_0" JOIN "here"."unit" ON "here"."unit"."n" = "pg_temp"."~stale_0"."n" AND "here"."unit"."name" = "pg_temp"."~stale_0"."name" JOIN "there"."__rate" ON "there"."__rate"."at" = "here"."unit"."x"
    ON CONFLICT DO NOTHING;

-- list the masters of part rows
INSERT INTO "pg_temp"."~stale_0" ("n", "name")
    SELECT DISTINCT "here"."unit"."n", "here"."unit"."name"
    FROM "pg_temp"."~stale_1" JOIN "here"."unit" ON "here"."unit"."n" = "pg_temp"."~stale_1"."n" AND "here"."unit"."name" = "pg_temp"."~stale_1"."name"
    ON CONFLICT DO NOTHING;

-- strike out what rows refer to
DELETE
    FROM "pg_temp"."~stale_0"
    WHERE EXISTS (SELECT 1
    FROM "there"."__rate"
    WHERE "there"."__rate"."unit" = "pg_temp"."~stale_0"."n" AND "there"."__rate"."name" = "pg_temp"."~stale_0"."name");

-- strike out what rows refer to that stay
DELETE
    FROM "pg_temp"."~stale_0"
    WHERE EXISTS (SELECT 1
    FROM "there"."__rate"
    WHERE "there"."__rate"."unit" = "pg_temp"."~stale_0"."n" AND "there"."__rate"."name" = "pg_temp"."~stale_0"."name"
    AND NOT EXISTS (SELECT 1
    FROM "pg_temp"."~stale_2" "~going"
    WHERE "~going"."n" = "there"."__rate"."n"));

-- strike out what rows refer to by another column
DELETE
    FROM "pg_temp"."~stale_0"
    WHERE EXISTS (SELECT 1
    FROM "here"."unit" JOIN "there"."__rate" ON "there"."__rate"."at" = "here"."unit"."x"
    WHERE "here"."unit"."n" = "pg_temp"."~stale_0"."n" AND "here"."unit"."name" = "pg_temp"."~stale_0"."name"
    AND NOT EXISTS (SELECT 1
    FROM "pg_temp"."~stale_2" "~going"
    WHERE "~going"."n" = "there"."__rate"."n"));

-- strike out part rows of masters that stay
DELETE
    FROM "pg_temp"."~stale_1"
    WHERE EXISTS (SELECT 1
    FROM "here"."unit__spike"
    WHERE "here"."unit__spike"."n" = "pg_temp"."~stale_1"."n" AND "here"."unit__spike"."name" = "pg_temp"."~stale_1"."name" AND "here"."unit__spike"."spike" = "pg_temp"."~stale_1"."spike"
    AND NOT EXISTS (SELECT 1
    FROM "pg_temp"."~stale_0" "~master"
    WHERE "~master"."n" = "here"."unit__spike"."n" AND "~master"."name" = "here"."unit__spike"."name"));

-- delete what depends on others
DELETE
    FROM "there"."__rate" USING "pg_temp"."~stale_2"
    WHERE "there"."__rate"."n" = "pg_temp"."~stale_2"."n" AND CASE WHEN 1 = 1 THEN TRUE END;

-- send rows, attachment, values
SELECT '(' || "lab"."#unit"."n"::text || ',' || '''' || replace(replace("lab"."#unit"."name"::text, '\', '\\'), '''', '\''') || '''' || ',' || coalesce(CASE WHEN "lab"."#unit"."wave" IS NULL OR CASE WHEN position('\x00'::bytea in substring("lab"."#unit"."wave" from 1 for 1024)) > 1 THEN NOT (position('\x2f'::bytea in substring(substring("lab"."#unit"."wave" from 1 for 1024) from 1 for position('\x00'::bytea in substring("lab"."#unit"."wave" from 1 for 1024)) - 1)) > 0 OR position('\x5c'::bytea in substring(substring("lab"."#unit"."wave" from 1 for 1024) from 1 for position('\x00'::bytea in substring("lab"."#unit"."wave" from 1 for 1024)) - 1)) > 0 OR substring(substring("lab"."#unit"."wave" from 1 for 1024) from 1 for position('\x00'::bytea in substring("lab"."#unit"."wave" from 1 for 1024)) - 1) IN ('\x2e'::bytea, '\x2e2e'::bytea)) ELSE false END THEN 'x''' || encode("lab"."#unit"."wave", 'hex') || '''' ELSE 'CAST(''wave: the file name in it is none'' AS SIGNED)' END, 'NULL') || ')';

-- send rows, attachment, binary
SELECT "lab"."#unit"."n", "lab"."#unit"."name", CASE WHEN "lab"."#unit"."wave" IS NULL OR CASE WHEN position('\x00'::bytea in substring("lab"."#unit"."wave" from 1 for 1024)) > 1 THEN NOT (position('\x2f'::bytea in substring(substring("lab"."#unit"."wave" from 1 for 1024) from 1 for position('\x00'::bytea in substring("lab"."#unit"."wave" from 1 for 1024)) - 1)) > 0 OR position('\x5c'::bytea in substring(substring("lab"."#unit"."wave" from 1 for 1024) from 1 for position('\x00'::bytea in substring("lab"."#unit"."wave" from 1 for 1024)) - 1)) > 0 OR substring(substring("lab"."#unit"."wave" from 1 for 1024) from 1 for position('\x00'::bytea in substring("lab"."#unit"."wave" from 1 for 1024)) - 1) IN ('\x2e'::bytea, '\x2e2e'::bytea)) ELSE false END THEN "lab"."#unit"."wave" ELSE convert_to(('wave: the file name in it is none ' || encode(substring("lab"."#unit"."wave" from 1 for 0), 'hex'))::int::text, 'UTF8') END;
