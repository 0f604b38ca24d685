-- create the helper table
CREATE TABLE `held`.`unit_outbound` (`n` int NOT NULL, `name` varchar(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, `process` ENUM('PULL', 'DELETE', 'NONE') NOT NULL DEFAULT 'NONE', `is_flagged` ENUM('TRUE', 'FALSE') NOT NULL DEFAULT 'FALSE', `is_deprecated` ENUM('TRUE', 'FALSE') NOT NULL DEFAULT 'FALSE', `_worker` INT NOT NULL DEFAULT 0, `_pulled` TIMESTAMP NULL DEFAULT NULL, `_refreshed` TIMESTAMP NULL DEFAULT NULL, `_flagged` TIMESTAMP NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP, PRIMARY KEY (`n`, `name`), FOREIGN KEY (`n`, `name`) REFERENCES `lab`.`#unit` (`n`, `name`) ON UPDATE RESTRICT ON DELETE RESTRICT) ENGINE=InnoDB ROW_FORMAT=DYNAMIC COMMENT='datajoint-link';

-- create the helper table
CREATE TABLE `held`.`unit_outbound` (`n` int NOT NULL, `name` varchar(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, `_process` ENUM('PULL', 'DELETE', 'NONE') NOT NULL DEFAULT 'NONE', `_worker` INT NOT NULL DEFAULT 0, PRIMARY KEY (`n`, `name`), FOREIGN KEY (`n`, `name`) REFERENCES `lab`.`#unit` (`n`, `name`) ON UPDATE RESTRICT ON DELETE RESTRICT) ENGINE=InnoDB ROW_FORMAT=DYNAMIC COMMENT='datajoint-link';

-- create a part of the helper table
CREATE TABLE `held`.`unit_outbound__deletion_requested` (`n` int NOT NULL, `name` varchar(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, PRIMARY KEY (`n`, `name`), FOREIGN KEY (`n`, `name`) REFERENCES `held`.`unit_outbound` (`n`, `name`) ON UPDATE RESTRICT ON DELETE RESTRICT) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

-- create a part of the helper table
CREATE TABLE `held`.`unit_outbound__deletion_approved` (`n` int NOT NULL, `name` varchar(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, PRIMARY KEY (`n`, `name`), FOREIGN KEY (`n`, `name`) REFERENCES `held`.`unit_outbound` (`n`, `name`) ON UPDATE RESTRICT ON DELETE RESTRICT) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

-- say whom a helper table serves
SET SESSION lock_wait_timeout = 3;

-- say whom a helper table serves
ALTER TABLE `held`.`unit_outbound` COMMENT='Rows held by Lab B [datajoint-link]';

-- create the table with the numbers
CREATE TABLE `here`.`~link` (name VARCHAR(64) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY, number CHAR(16) CHARACTER
    SET ascii NOT NULL, place VARCHAR(2000) CHARACTER
    SET utf8mb4 NOT NULL, tie TEXT CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin NULL) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

-- let it hold ties
SET SESSION lock_wait_timeout = 3;

-- let it hold ties
ALTER TABLE `here`.`~link` ADD COLUMN tie TEXT CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin NULL;

-- create the table with edits
CREATE TABLE `here`.`~link_edited` (name VARCHAR(64) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, digest CHAR(64) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, PRIMARY KEY (name, digest)) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

-- note an edit
INSERT INTO `here`.`~link_edited` (`name`, `digest`)
    SELECT 'unit', SHA2(CONCAT_WS(',', `here`.`unit`.`n`, QUOTE(CONVERT(`here`.`unit`.`name` USING utf8mb4)), CAST(`here`.`unit`.`x` AS DOUBLE), IF(`here`.`unit`.`wave` IS NULL, 'NULL', IF(LENGTH(`here`.`unit`.`wave`) > 1000, CONCAT('=', SHA2(`here`.`unit`.`wave`, 256)), CONCAT(LENGTH(`here`.`unit`.`wave`), ',', `here`.`unit`.`wave`)))), 256)
    FROM `here`.`unit`
    WHERE n = 1
    ON DUPLICATE KEY UPDATE `here`.`~link_edited`.`name` = `here`.`~link_edited`.`name`;

-- tell what was edited
SHA2(CONCAT_WS(',', `here`.`unit`.`n`, QUOTE(CONVERT(`here`.`unit`.`name` USING utf8mb4)), CAST(`here`.`unit`.`x` AS DOUBLE), IF(`here`.`unit`.`wave` IS NULL, 'NULL', IF(LENGTH(`here`.`unit`.`wave`) > 1000, CONCAT('=', SHA2(`here`.`unit`.`wave`, 256)), CONCAT(LENGTH(`here`.`unit`.`wave`), ',', `here`.`unit`.`wave`)))), 256) IN (SELECT digest
    FROM `here`.`~link_edited`
    WHERE name = 'unit');

-- complete a helper table
ALTER TABLE `held`.`unit_outbound` ADD COLUMN `_worker` INT NOT NULL DEFAULT 0;

-- complete a helper table
ALTER TABLE `held`.`unit_outbound` ADD COLUMN `_pulled` TIMESTAMP NULL DEFAULT NULL, ADD COLUMN `_refreshed` TIMESTAMP NULL DEFAULT NULL, ADD COLUMN `_flagged` TIMESTAMP NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP;

-- create a local table
CREATE TABLE `here`.`unit` (`n` int NOT NULL COMMENT '', `name` varchar(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT '', `x` float NOT NULL COMMENT '', `wave` longblob NULL COMMENT 'samples, 100%%', PRIMARY KEY (`n`, `name`)) ENGINE=InnoDB ROW_FORMAT=DYNAMIC COMMENT='a unit';

-- create a local table
CREATE TABLE `here`.`unit__spike` (`n` int NOT NULL COMMENT '', `name` varchar(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT '', `spike` int NOT NULL COMMENT '', PRIMARY KEY (`n`, `name`, `spike`), FOREIGN KEY (`n`, `name`) REFERENCES `here`.`unit` (`n`, `name`) ON UPDATE CASCADE ON DELETE RESTRICT) ENGINE=InnoDB ROW_FORMAT=DYNAMIC COMMENT='';

-- create a local table with indexes
CREATE TABLE `here`.`#unit` (`n` int NOT NULL COMMENT '', `name` varchar(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT '', `x` float NOT NULL COMMENT '', `wave` longblob NULL COMMENT 'samples, 100%%', PRIMARY KEY (`n`, `name`), INDEX (`x`, `n`), UNIQUE INDEX (`name`)) ENGINE=InnoDB ROW_FORMAT=DYNAMIC COMMENT='a unit';

-- alter a table
ALTER TABLE `lab`.`#unit` ADD COLUMN `y` float NOT NULL DEFAULT 0.5 COMMENT '100%%', MODIFY COLUMN `name` varchar(40) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin NULL COMMENT '', DROP COLUMN `wave`;

-- let a helper table refer to its source
ALTER TABLE `held`.`unit_outbound` DROP FOREIGN KEY `outbound_ibfk_1`, ADD FOREIGN KEY (`n`, `name`) REFERENCES `lab`.`#unit` (`n`, `name`) ON UPDATE RESTRICT ON DELETE RESTRICT;

-- @link: which rows are shared
EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~holding`
    WHERE `lab`.`#unit`.`n` = `~holding`.`n` AND `lab`.`#unit`.`name` = `~holding`.`name` AND `~holding`.process = 'NONE' AND `~holding`.is_flagged = 'FALSE' AND `~holding`.is_deprecated = 'FALSE');

-- @link: adopt: (7, 3)
UPDATE `held`.`unit_outbound`
    SET _worker = %s, _flagged = `held`.`unit_outbound`._flagged
    WHERE `held`.`unit_outbound`.process IN ('PULL', 'DELETE') AND _worker IN (%s);

-- @link: survey, at rest
SELECT COUNT(*), COALESCE(SUM(CASE WHEN `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'FALSE' AND `held`.`unit_outbound`.is_deprecated = 'FALSE' THEN 1 ELSE 0 END), 0)
    FROM `held`.`unit_outbound`
    WHERE EXISTS (SELECT 1
    FROM `lab`.`#unit`
    WHERE `lab`.`#unit`.`n` = `held`.`unit_outbound`.`n` AND `lab`.`#unit`.`name` = `held`.`unit_outbound`.`name` AND (n > 3));

-- @link: survey, others
SELECT `held`.`unit_outbound`.process, `held`.`unit_outbound`.is_flagged, `held`.`unit_outbound`.is_deprecated, CASE WHEN `held`.`unit_outbound`.process IN ('PULL', 'DELETE') THEN _worker ELSE 0 END, COUNT(*)
    FROM `held`.`unit_outbound`
    WHERE NOT (`held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'FALSE' AND `held`.`unit_outbound`.is_deprecated = 'FALSE')
    GROUP BY 1, 2, 3, 4;

-- @link: what a refresh leaves alone
SELECT COUNT(*), COALESCE(SUM(CASE WHEN `held`.`unit_outbound`.process IN ('PULL', 'DELETE') THEN 1 ELSE 0 END), 0)
    FROM `held`.`unit_outbound`
    WHERE EXISTS (SELECT 1
    FROM `lab`.`#unit`
    WHERE `lab`.`#unit`.`n` = `held`.`unit_outbound`.`n` AND `lab`.`#unit`.`name` = `held`.`unit_outbound`.`name` AND (n > 3)) AND NOT (`held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'FALSE');

-- @link: claim a range: (1, 1, 'a', 7, 7, "it's 100%")
INSERT INTO `held`.`unit_outbound` (`n`, `name`, `process`, `is_flagged`, `is_deprecated`, `_worker`, `_pulled`, `_refreshed`)
    SELECT `lab`.`#unit`.`n`, `lab`.`#unit`.`name`, 'PULL', 'FALSE', 'FALSE', 7, CURRENT_TIMESTAMP,
    FROM_UNIXTIME(1)
    FROM `lab`.`#unit`
    WHERE NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~held`
    WHERE `~held`.`n` = `lab`.`#unit`.`n` AND `~held`.`name` = `lab`.`#unit`.`name`)
    AND ((`lab`.`#unit`.`n` > %s) OR (`lab`.`#unit`.`n` = %s AND `lab`.`#unit`.`name` > %s))
    AND ((`lab`.`#unit`.`n` < %s) OR (`lab`.`#unit`.`n` = %s AND `lab`.`#unit`.`name` <= %s))
    ON DUPLICATE KEY UPDATE `held`.`unit_outbound`.`n` = `held`.`unit_outbound`.`n`;

-- @link: claim a range that nobody holds anything of: (1, 1, 'a', 7, 7, "it's 100%")
INSERT INTO `held`.`unit_outbound` (`n`, `name`, `process`, `is_flagged`, `is_deprecated`, `_worker`, `_pulled`, `_refreshed`)
    SELECT `lab`.`#unit`.`n`, `lab`.`#unit`.`name`, 'PULL', 'FALSE', 'FALSE', 7, CURRENT_TIMESTAMP,
    FROM_UNIXTIME(1)
    FROM `lab`.`#unit`
    WHERE (n > 3)
    AND ((`lab`.`#unit`.`n` > %s) OR (`lab`.`#unit`.`n` = %s AND `lab`.`#unit`.`name` > %s))
    AND ((`lab`.`#unit`.`n` < %s) OR (`lab`.`#unit`.`n` = %s AND `lab`.`#unit`.`name` <= %s))
    ON DUPLICATE KEY UPDATE `held`.`unit_outbound`.`n` = `held`.`unit_outbound`.`n`;

-- @link: claim keys: ('[[1, "a"], [2, "b"]]',)
INSERT INTO `held`.`unit_outbound` (`n`, `name`, `process`, `is_flagged`, `is_deprecated`, `_worker`, `_pulled`, `_refreshed`)
    SELECT `lab`.`#unit`.`n`, `lab`.`#unit`.`name`, 'PULL', 'FALSE', 'FALSE', 7, CURRENT_TIMESTAMP,
    FROM_UNIXTIME(1)
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `lab`.`#unit` ON `lab`.`#unit`.`n` = `~keys`.`~0` AND `lab`.`#unit`.`name` = `~keys`.`~1`
    WHERE NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~held`
    WHERE `~held`.`n` = `lab`.`#unit`.`n` AND `~held`.`name` = `lab`.`#unit`.`name`) AND (n > 3)
    ON DUPLICATE KEY UPDATE `held`.`unit_outbound`.`n` = `held`.`unit_outbound`.`n`;

-- @link: count what nobody holds
SELECT COUNT(*)
    FROM `lab`.`#unit`
    WHERE NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~held`
    WHERE `~held`.`n` = `lab`.`#unit`.`n` AND `~held`.`name` = `lab`.`#unit`.`name`) AND (n > 3);

-- @link: rows of a chunk, master: (1, 1, 'a', 7, 7, 'b')
FROM `held`.`unit_outbound` STRAIGHT_JOIN `lab`.`#unit` ON `lab`.`#unit`.`n` = `held`.`unit_outbound`.`n` AND `lab`.`#unit`.`name` = `held`.`unit_outbound`.`name`
    WHERE `held`.`unit_outbound`.process = 'PULL' AND `held`.`unit_outbound`._worker = 7 AND `held`.`unit_outbound`.is_flagged = 'FALSE'
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s))
    ORDER BY `held`.`unit_outbound`.`n`, `held`.`unit_outbound`.`name`;

-- @link: rows of a chunk, part: (1, 1, 'a', 7, 7, 'b')
FROM `held`.`unit_outbound` STRAIGHT_JOIN `lab`.`#unit__spike` ON `lab`.`#unit__spike`.`n` = `held`.`unit_outbound`.`n` AND `lab`.`#unit__spike`.`name` = `held`.`unit_outbound`.`name`
    WHERE `held`.`unit_outbound`.process = 'PULL' AND `held`.`unit_outbound`._worker = 7 AND `held`.`unit_outbound`.is_flagged = 'FALSE'
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s))
    ORDER BY `held`.`unit_outbound`.`n`, `held`.`unit_outbound`.`name`;

-- @link: rows of a whole chunk: (1, 1, 'a', 7, 7, 'b')
FROM `lab`.`#unit__spike`
    WHERE ((`lab`.`#unit__spike`.`n` > %s) OR (`lab`.`#unit__spike`.`n` = %s AND `lab`.`#unit__spike`.`name` > %s))
    AND ((`lab`.`#unit__spike`.`n` < %s) OR (`lab`.`#unit__spike`.`n` = %s AND `lab`.`#unit__spike`.`name` <= %s))
    ORDER BY `lab`.`#unit__spike`.`n`, `lab`.`#unit__spike`.`name`;

-- @link: how many rows of a chunk: (1, 1, 'a', 7, 7, 'b', 1, 1, 'a', 7, 7, 'b')
SELECT (SELECT COUNT(*)
    FROM `held`.`unit_outbound` STRAIGHT_JOIN `lab`.`#unit` ON `lab`.`#unit`.`n` = `held`.`unit_outbound`.`n` AND `lab`.`#unit`.`name` = `held`.`unit_outbound`.`name`
    WHERE `held`.`unit_outbound`.process = 'PULL' AND `held`.`unit_outbound`._worker = 7 AND `held`.`unit_outbound`.is_flagged = 'FALSE'
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s))), (SELECT COUNT(*)
    FROM `held`.`unit_outbound` STRAIGHT_JOIN `lab`.`#unit__spike` ON `lab`.`#unit__spike`.`n` = `held`.`unit_outbound`.`n` AND `lab`.`#unit__spike`.`name` = `held`.`unit_outbound`.`name`
    WHERE `held`.`unit_outbound`.process = 'PULL' AND `held`.`unit_outbound`._worker = 7 AND `held`.`unit_outbound`.is_flagged = 'FALSE'
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s)));

-- @link: keys in hand: (1, 1, 'a')
SELECT `held`.`unit_outbound`.`n`, IF(LOCATE(0xED, BINARY `held`.`unit_outbound`.`name`) AND NOT BINARY CONVERT(CONVERT(`held`.`unit_outbound`.`name` USING utf16) USING utf8mb4) <=> BINARY `held`.`unit_outbound`.`name`, CONCAT('￿bytes:', HEX(`held`.`unit_outbound`.`name`)), CONVERT(`held`.`unit_outbound`.`name` USING utf8mb4))
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.process = 'PULL' AND `held`.`unit_outbound`._worker = 7
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    ORDER BY `held`.`unit_outbound`.`n`, `held`.`unit_outbound`.`name`;

-- @link: keys: shared
SELECT `held`.`unit_outbound`.`n`, IF(LOCATE(0xED, BINARY `held`.`unit_outbound`.`name`) AND NOT BINARY CONVERT(CONVERT(`held`.`unit_outbound`.`name` USING utf16) USING utf8mb4) <=> BINARY `held`.`unit_outbound`.`name`, CONCAT('￿bytes:', HEX(`held`.`unit_outbound`.`name`)), CONVERT(`held`.`unit_outbound`.`name` USING utf8mb4))
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'FALSE'
    AND EXISTS (SELECT 1
    FROM `lab`.`#unit`
    WHERE `lab`.`#unit`.`n` = `held`.`unit_outbound`.`n` AND `lab`.`#unit`.`name` = `held`.`unit_outbound`.`name` AND (n > 3));

-- @link: keys: flagged
SELECT `held`.`unit_outbound`.`n`, IF(LOCATE(0xED, BINARY `held`.`unit_outbound`.`name`) AND NOT BINARY CONVERT(CONVERT(`held`.`unit_outbound`.`name` USING utf16) USING utf8mb4) <=> BINARY `held`.`unit_outbound`.`name`, CONCAT('￿bytes:', HEX(`held`.`unit_outbound`.`name`)), CONVERT(`held`.`unit_outbound`.`name` USING utf8mb4))
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'TRUE'
    AND EXISTS (SELECT 1
    FROM `lab`.`#unit`
    WHERE `lab`.`#unit`.`n` = `held`.`unit_outbound`.`n` AND `lab`.`#unit`.`name` = `held`.`unit_outbound`.`name` AND (n > 3));

-- @link: keys: unflagged
SELECT `held`.`unit_outbound`.`n`, IF(LOCATE(0xED, BINARY `held`.`unit_outbound`.`name`) AND NOT BINARY CONVERT(CONVERT(`held`.`unit_outbound`.`name` USING utf16) USING utf8mb4) <=> BINARY `held`.`unit_outbound`.`name`, CONCAT('￿bytes:', HEX(`held`.`unit_outbound`.`name`)), CONVERT(`held`.`unit_outbound`.`name` USING utf8mb4))
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'FALSE' AND `held`.`unit_outbound`.is_deprecated = 'TRUE'
    AND EXISTS (SELECT 1
    FROM `lab`.`#unit`
    WHERE `lab`.`#unit`.`n` = `held`.`unit_outbound`.`n` AND `lab`.`#unit`.`name` = `held`.`unit_outbound`.`name` AND (n > 3));

-- @link: keys: unsettled
SELECT `held`.`unit_outbound`.`n`, IF(LOCATE(0xED, BINARY `held`.`unit_outbound`.`name`) AND NOT BINARY CONVERT(CONVERT(`held`.`unit_outbound`.`name` USING utf16) USING utf8mb4) <=> BINARY `held`.`unit_outbound`.`name`, CONCAT('￿bytes:', HEX(`held`.`unit_outbound`.`name`)), CONVERT(`held`.`unit_outbound`.`name` USING utf8mb4))
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'TRUE' AND `held`.`unit_outbound`.is_deprecated = 'FALSE'
    AND EXISTS (SELECT 1
    FROM `lab`.`#unit`
    WHERE `lab`.`#unit`.`n` = `held`.`unit_outbound`.`n` AND `lab`.`#unit`.`name` = `held`.`unit_outbound`.`name` AND (n > 3));

-- @link: who holds what
SELECT COALESCE(SUM(CASE WHEN `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'FALSE' THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'TRUE' AND `held`.`unit_outbound`.is_deprecated = 'FALSE' THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'TRUE' AND `held`.`unit_outbound`.is_deprecated = 'TRUE' THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN `held`.`unit_outbound`.process IN ('PULL', 'DELETE') THEN 1 ELSE 0 END), 0), NULLIF(UNIX_TIMESTAMP(MIN(CASE WHEN NOT (`held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'TRUE' AND `held`.`unit_outbound`.is_deprecated = 'TRUE') THEN _pulled END)), 1), NULLIF(UNIX_TIMESTAMP(MAX(CASE WHEN NOT (`held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'TRUE' AND `held`.`unit_outbound`.is_deprecated = 'TRUE') THEN _pulled END)), 1), NULLIF(UNIX_TIMESTAMP(MAX(CASE WHEN NOT (`held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'TRUE' AND `held`.`unit_outbound`.is_deprecated = 'TRUE') THEN _refreshed END)), 1), NULLIF(UNIX_TIMESTAMP(MIN(CASE WHEN `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'TRUE' AND `held`.`unit_outbound`.is_deprecated = 'FALSE' THEN _flagged END)), 1)
    FROM `held`.`unit_outbound`;

-- @link: the source flags
UPDATE `held`.`unit_outbound`
    SET is_flagged = 'TRUE'
    WHERE `held`.`unit_outbound`.is_flagged = 'FALSE'
    AND EXISTS (SELECT 1
    FROM `lab`.`#unit`
    WHERE `lab`.`#unit`.`n` = `held`.`unit_outbound`.`n` AND `lab`.`#unit`.`name` = `held`.`unit_outbound`.`name` AND (n > 3));

-- @link: the source unflags
UPDATE `held`.`unit_outbound`
    SET is_flagged = 'FALSE'
    WHERE `held`.`unit_outbound`.is_flagged = 'TRUE';

-- @link: the source clears away what is deprecated: ('[[1, "a"], [2, "b"]]',)
DELETE `held`.`unit_outbound`
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    WHERE `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'TRUE' AND `held`.`unit_outbound`.is_deprecated = 'TRUE';

-- @link: note what is refreshed: ('[[1, "a"], [2, "b"]]',)
UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    SET _refreshed = CURRENT_TIMESTAMP, _flagged = `held`.`unit_outbound`._flagged
    WHERE `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'FALSE';

-- @link: tell since when
SELECT NULLIF(UNIX_TIMESTAMP(MIN(_pulled)), 1), NULLIF(UNIX_TIMESTAMP(MAX(_pulled)), 1), NULLIF(UNIX_TIMESTAMP(MAX(_refreshed)), 1), NULLIF(UNIX_TIMESTAMP(MIN(CASE WHEN `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'TRUE' AND `held`.`unit_outbound`.is_deprecated = 'FALSE' THEN _flagged END)), 1)
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_deprecated = 'FALSE';

-- @link: transition b, range: (1, 1, 'a', 7, 7, "it's 100%")
UPDATE `held`.`unit_outbound`
    SET process = 'PULL', is_deprecated = 'FALSE', _worker = 7, _pulled = CURRENT_TIMESTAMP, _refreshed =
    FROM_UNIXTIME(1), _flagged = `held`.`unit_outbound`._flagged
    WHERE `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'FALSE' AND `held`.`unit_outbound`.is_deprecated = 'TRUE'
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s));

-- @link: transition b, keys: ('[[1, "a"], [2, "b"]]',)
UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    SET process = 'PULL', is_deprecated = 'FALSE', _worker = 7, _pulled = CURRENT_TIMESTAMP, _refreshed =
    FROM_UNIXTIME(1), _flagged = `held`.`unit_outbound`._flagged
    WHERE `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'FALSE' AND `held`.`unit_outbound`.is_deprecated = 'TRUE';

-- @link: transition b, range: (1, 1, 'a', 7, 7, "it's 100%")
UPDATE `held`.`unit_outbound`
    SET process = 'PULL', _worker = 7, _pulled = CURRENT_TIMESTAMP, _refreshed =
    FROM_UNIXTIME(1), _flagged = `held`.`unit_outbound`._flagged
    WHERE `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'FALSE'
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s));

-- @link: transition b, keys: ('[[1, "a"], [2, "b"]]',)
UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    SET process = 'PULL', _worker = 7, _pulled = CURRENT_TIMESTAMP, _refreshed =
    FROM_UNIXTIME(1), _flagged = `held`.`unit_outbound`._flagged
    WHERE `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'FALSE';

-- @link: transition k, range: (1, 1, 'a', 7, 7, "it's 100%")
UPDATE `held`.`unit_outbound`
    SET process = 'DELETE', _worker = 7, _flagged = `held`.`unit_outbound`._flagged
    WHERE `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'FALSE'
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s));

-- @link: transition k, keys: ('[[1, "a"], [2, "b"]]',)
UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    SET process = 'DELETE', _worker = 7, _flagged = `held`.`unit_outbound`._flagged
    WHERE `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'FALSE';

-- @link: transition d, range: (7, 1, 1, 'a', 7, 7, "it's 100%")
UPDATE `held`.`unit_outbound`
    SET process = 'NONE', is_deprecated = 'FALSE', _flagged = `held`.`unit_outbound`._flagged
    WHERE `held`.`unit_outbound`.process = 'PULL' AND `held`.`unit_outbound`._worker = %s
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s));

-- @link: transition d, keys: ('[[1, "a"], [2, "b"]]', 7)
UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    SET process = 'NONE', is_deprecated = 'FALSE', _flagged = `held`.`unit_outbound`._flagged
    WHERE `held`.`unit_outbound`.process = 'PULL' AND `held`.`unit_outbound`._worker = %s;

-- @link: transition e, range: (7, 1, 1, 'a', 7, 7, "it's 100%")
DELETE
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.process = 'PULL' AND `held`.`unit_outbound`.is_flagged = 'FALSE' AND `held`.`unit_outbound`._worker = %s
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s));

-- @link: transition e, keys: ('[[1, "a"], [2, "b"]]', 7)
DELETE `held`.`unit_outbound`
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    WHERE `held`.`unit_outbound`.process = 'PULL' AND `held`.`unit_outbound`.is_flagged = 'FALSE' AND `held`.`unit_outbound`._worker = %s;

-- @link: transition f, range: (1, 1, 'a', 7, 7, "it's 100%")
UPDATE `held`.`unit_outbound`
    SET process = 'DELETE', _worker = 7, _flagged = `held`.`unit_outbound`._flagged
    WHERE `held`.`unit_outbound`.process IN ('NONE', 'PULL')
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s));

-- @link: transition f, keys: ('[[1, "a"], [2, "b"]]',)
UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    SET process = 'DELETE', _worker = 7, _flagged = `held`.`unit_outbound`._flagged
    WHERE `held`.`unit_outbound`.process IN ('NONE', 'PULL');

-- @link: transition g, range: (7, 1, 1, 'a', 7, 7, "it's 100%")
UPDATE `held`.`unit_outbound`
    SET process = 'NONE', _flagged = `held`.`unit_outbound`._flagged
    WHERE `held`.`unit_outbound`.process = 'DELETE' AND `held`.`unit_outbound`._worker = %s
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s));

-- @link: transition g, keys: ('[[1, "a"], [2, "b"]]', 7)
UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    SET process = 'NONE', _flagged = `held`.`unit_outbound`._flagged
    WHERE `held`.`unit_outbound`.process = 'DELETE' AND `held`.`unit_outbound`._worker = %s;

-- @link: transition h, range: (7, 1, 1, 'a', 7, 7, "it's 100%")
DELETE
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.process = 'DELETE' AND `held`.`unit_outbound`.is_flagged = 'FALSE' AND `held`.`unit_outbound`._worker = %s
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s));

-- @link: transition h, keys: ('[[1, "a"], [2, "b"]]', 7)
DELETE `held`.`unit_outbound`
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    WHERE `held`.`unit_outbound`.process = 'DELETE' AND `held`.`unit_outbound`.is_flagged = 'FALSE' AND `held`.`unit_outbound`._worker = %s;

-- @link: transition i, range: (7, 1, 1, 'a', 7, 7, "it's 100%")
UPDATE `held`.`unit_outbound`
    SET process = 'NONE', is_deprecated = 'TRUE', _flagged = `held`.`unit_outbound`._flagged
    WHERE `held`.`unit_outbound`.process = 'DELETE' AND `held`.`unit_outbound`.is_flagged = 'TRUE' AND `held`.`unit_outbound`._worker = %s
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s));

-- @link: transition i, keys: ('[[1, "a"], [2, "b"]]', 7)
UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    SET process = 'NONE', is_deprecated = 'TRUE', _flagged = `held`.`unit_outbound`._flagged
    WHERE `held`.`unit_outbound`.process = 'DELETE' AND `held`.`unit_outbound`.is_flagged = 'TRUE' AND `held`.`unit_outbound`._worker = %s;

-- @link: transition j, range: (1, 1, 'a', 7, 7, "it's 100%")
UPDATE `held`.`unit_outbound`
    SET is_deprecated = 'TRUE', _flagged = `held`.`unit_outbound`._flagged
    WHERE `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'TRUE' AND `held`.`unit_outbound`.is_deprecated = 'FALSE'
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s));

-- @link: transition j, keys: ('[[1, "a"], [2, "b"]]',)
UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    SET is_deprecated = 'TRUE', _flagged = `held`.`unit_outbound`._flagged
    WHERE `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'TRUE' AND `held`.`unit_outbound`.is_deprecated = 'FALSE';

-- @link: transition m, range: (1, 1, 'a', 7, 7, "it's 100%")
DELETE
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'FALSE'
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s));

-- @link: transition m, keys: ('[[1, "a"], [2, "b"]]',)
DELETE `held`.`unit_outbound`
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    WHERE `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'FALSE';

-- dj_link: which rows are shared
EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~holding`
    WHERE `lab`.`#unit`.`n` = `~holding`.`n` AND `lab`.`#unit`.`name` = `~holding`.`name` AND `~holding`._process = 'NONE'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `~holding`.`n` AND `~part`.`name` = `~holding`.`name`)
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_approved` `~part`
    WHERE `~part`.`n` = `~holding`.`n` AND `~part`.`name` = `~holding`.`name`));

-- dj_link: adopt: (7, 3)
UPDATE `held`.`unit_outbound`
    SET _worker = %s
    WHERE `held`.`unit_outbound`._process IN ('PULL', 'DELETE') AND _worker IN (%s);

-- dj_link: survey, at rest
SELECT COUNT(*), COALESCE(SUM(CASE WHEN `held`.`unit_outbound`._process = 'NONE'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_approved` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`) THEN 1 ELSE 0 END), 0)
    FROM `held`.`unit_outbound`
    WHERE EXISTS (SELECT 1
    FROM `lab`.`#unit`
    WHERE `lab`.`#unit`.`n` = `held`.`unit_outbound`.`n` AND `lab`.`#unit`.`name` = `held`.`unit_outbound`.`name` AND (n > 3));

-- dj_link: survey, others
SELECT `held`.`unit_outbound`._process, CASE WHEN EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`) THEN 'TRUE' ELSE 'FALSE' END, CASE WHEN EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_approved` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`) THEN 'TRUE' ELSE 'FALSE' END, CASE WHEN `held`.`unit_outbound`._process IN ('PULL', 'DELETE') THEN _worker ELSE 0 END, COUNT(*)
    FROM `held`.`unit_outbound`
    WHERE NOT (`held`.`unit_outbound`._process = 'NONE'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_approved` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`))
    GROUP BY 1, 2, 3, 4;

-- dj_link: what a refresh leaves alone
SELECT COUNT(*), COALESCE(SUM(CASE WHEN `held`.`unit_outbound`._process IN ('PULL', 'DELETE') THEN 1 ELSE 0 END), 0)
    FROM `held`.`unit_outbound`
    WHERE EXISTS (SELECT 1
    FROM `lab`.`#unit`
    WHERE `lab`.`#unit`.`n` = `held`.`unit_outbound`.`n` AND `lab`.`#unit`.`name` = `held`.`unit_outbound`.`name` AND (n > 3)) AND NOT (`held`.`unit_outbound`._process = 'NONE'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`));

-- dj_link: claim a range: (1, 1, 'a', 7, 7, "it's 100%")
INSERT INTO `held`.`unit_outbound` (`n`, `name`, `_process`, `_worker`)
    SELECT `lab`.`#unit`.`n`, `lab`.`#unit`.`name`, 'PULL', 7
    FROM `lab`.`#unit`
    WHERE NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~held`
    WHERE `~held`.`n` = `lab`.`#unit`.`n` AND `~held`.`name` = `lab`.`#unit`.`name`)
    AND ((`lab`.`#unit`.`n` > %s) OR (`lab`.`#unit`.`n` = %s AND `lab`.`#unit`.`name` > %s))
    AND ((`lab`.`#unit`.`n` < %s) OR (`lab`.`#unit`.`n` = %s AND `lab`.`#unit`.`name` <= %s))
    ON DUPLICATE KEY UPDATE `held`.`unit_outbound`.`n` = `held`.`unit_outbound`.`n`;

-- dj_link: claim a range that nobody holds anything of: (1, 1, 'a', 7, 7, "it's 100%")
INSERT INTO `held`.`unit_outbound` (`n`, `name`, `_process`, `_worker`)
    SELECT `lab`.`#unit`.`n`, `lab`.`#unit`.`name`, 'PULL', 7
    FROM `lab`.`#unit`
    WHERE (n > 3)
    AND ((`lab`.`#unit`.`n` > %s) OR (`lab`.`#unit`.`n` = %s AND `lab`.`#unit`.`name` > %s))
    AND ((`lab`.`#unit`.`n` < %s) OR (`lab`.`#unit`.`n` = %s AND `lab`.`#unit`.`name` <= %s))
    ON DUPLICATE KEY UPDATE `held`.`unit_outbound`.`n` = `held`.`unit_outbound`.`n`;

-- dj_link: claim keys: ('[[1, "a"], [2, "b"]]',)
INSERT INTO `held`.`unit_outbound` (`n`, `name`, `_process`, `_worker`)
    SELECT `lab`.`#unit`.`n`, `lab`.`#unit`.`name`, 'PULL', 7
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `lab`.`#unit` ON `lab`.`#unit`.`n` = `~keys`.`~0` AND `lab`.`#unit`.`name` = `~keys`.`~1`
    WHERE NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~held`
    WHERE `~held`.`n` = `lab`.`#unit`.`n` AND `~held`.`name` = `lab`.`#unit`.`name`) AND (n > 3)
    ON DUPLICATE KEY UPDATE `held`.`unit_outbound`.`n` = `held`.`unit_outbound`.`n`;

-- dj_link: count what nobody holds
SELECT COUNT(*)
    FROM `lab`.`#unit`
    WHERE NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~held`
    WHERE `~held`.`n` = `lab`.`#unit`.`n` AND `~held`.`name` = `lab`.`#unit`.`name`) AND (n > 3);

-- dj_link: rows of a chunk, master: (1, 1, 'a', 7, 7, 'b')
FROM `held`.`unit_outbound` STRAIGHT_JOIN `lab`.`#unit` ON `lab`.`#unit`.`n` = `held`.`unit_outbound`.`n` AND `lab`.`#unit`.`name` = `held`.`unit_outbound`.`name`
    WHERE `held`.`unit_outbound`._process = 'PULL' AND `held`.`unit_outbound`._worker = 7
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s))
    ORDER BY `held`.`unit_outbound`.`n`, `held`.`unit_outbound`.`name`;

-- dj_link: rows of a chunk, part: (1, 1, 'a', 7, 7, 'b')
FROM `held`.`unit_outbound` STRAIGHT_JOIN `lab`.`#unit__spike` ON `lab`.`#unit__spike`.`n` = `held`.`unit_outbound`.`n` AND `lab`.`#unit__spike`.`name` = `held`.`unit_outbound`.`name`
    WHERE `held`.`unit_outbound`._process = 'PULL' AND `held`.`unit_outbound`._worker = 7
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s))
    ORDER BY `held`.`unit_outbound`.`n`, `held`.`unit_outbound`.`name`;

-- dj_link: rows of a whole chunk: (1, 1, 'a', 7, 7, 'b')
FROM `lab`.`#unit__spike`
    WHERE ((`lab`.`#unit__spike`.`n` > %s) OR (`lab`.`#unit__spike`.`n` = %s AND `lab`.`#unit__spike`.`name` > %s))
    AND ((`lab`.`#unit__spike`.`n` < %s) OR (`lab`.`#unit__spike`.`n` = %s AND `lab`.`#unit__spike`.`name` <= %s))
    ORDER BY `lab`.`#unit__spike`.`n`, `lab`.`#unit__spike`.`name`;

-- dj_link: how many rows of a chunk: (1, 1, 'a', 7, 7, 'b', 1, 1, 'a', 7, 7, 'b')
SELECT (SELECT COUNT(*)
    FROM `held`.`unit_outbound` STRAIGHT_JOIN `lab`.`#unit` ON `lab`.`#unit`.`n` = `held`.`unit_outbound`.`n` AND `lab`.`#unit`.`name` = `held`.`unit_outbound`.`name`
    WHERE `held`.`unit_outbound`._process = 'PULL' AND `held`.`unit_outbound`._worker = 7
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s))), (SELECT COUNT(*)
    FROM `held`.`unit_outbound` STRAIGHT_JOIN `lab`.`#unit__spike` ON `lab`.`#unit__spike`.`n` = `held`.`unit_outbound`.`n` AND `lab`.`#unit__spike`.`name` = `held`.`unit_outbound`.`name`
    WHERE `held`.`unit_outbound`._process = 'PULL' AND `held`.`unit_outbound`._worker = 7
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s)));

-- dj_link: keys in hand: (1, 1, 'a')
SELECT `held`.`unit_outbound`.`n`, IF(LOCATE(0xED, BINARY `held`.`unit_outbound`.`name`) AND NOT BINARY CONVERT(CONVERT(`held`.`unit_outbound`.`name` USING utf16) USING utf8mb4) <=> BINARY `held`.`unit_outbound`.`name`, CONCAT('￿bytes:', HEX(`held`.`unit_outbound`.`name`)), CONVERT(`held`.`unit_outbound`.`name` USING utf8mb4))
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`._process = 'PULL' AND `held`.`unit_outbound`._worker = 7
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    ORDER BY `held`.`unit_outbound`.`n`, `held`.`unit_outbound`.`name`;

-- dj_link: keys: shared
SELECT `held`.`unit_outbound`.`n`, IF(LOCATE(0xED, BINARY `held`.`unit_outbound`.`name`) AND NOT BINARY CONVERT(CONVERT(`held`.`unit_outbound`.`name` USING utf16) USING utf8mb4) <=> BINARY `held`.`unit_outbound`.`name`, CONCAT('￿bytes:', HEX(`held`.`unit_outbound`.`name`)), CONVERT(`held`.`unit_outbound`.`name` USING utf8mb4))
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`._process = 'NONE'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND EXISTS (SELECT 1
    FROM `lab`.`#unit`
    WHERE `lab`.`#unit`.`n` = `held`.`unit_outbound`.`n` AND `lab`.`#unit`.`name` = `held`.`unit_outbound`.`name` AND (n > 3));

-- dj_link: keys: flagged
SELECT `held`.`unit_outbound`.`n`, IF(LOCATE(0xED, BINARY `held`.`unit_outbound`.`name`) AND NOT BINARY CONVERT(CONVERT(`held`.`unit_outbound`.`name` USING utf16) USING utf8mb4) <=> BINARY `held`.`unit_outbound`.`name`, CONCAT('￿bytes:', HEX(`held`.`unit_outbound`.`name`)), CONVERT(`held`.`unit_outbound`.`name` USING utf8mb4))
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`._process = 'NONE'
    AND EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND EXISTS (SELECT 1
    FROM `lab`.`#unit`
    WHERE `lab`.`#unit`.`n` = `held`.`unit_outbound`.`n` AND `lab`.`#unit`.`name` = `held`.`unit_outbound`.`name` AND (n > 3));

-- dj_link: keys: unflagged
SELECT `held`.`unit_outbound`.`n`, IF(LOCATE(0xED, BINARY `held`.`unit_outbound`.`name`) AND NOT BINARY CONVERT(CONVERT(`held`.`unit_outbound`.`name` USING utf16) USING utf8mb4) <=> BINARY `held`.`unit_outbound`.`name`, CONCAT('￿bytes:', HEX(`held`.`unit_outbound`.`name`)), CONVERT(`held`.`unit_outbound`.`name` USING utf8mb4))
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`._process = 'NONE'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_approved` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND EXISTS (SELECT 1
    FROM `lab`.`#unit`
    WHERE `lab`.`#unit`.`n` = `held`.`unit_outbound`.`n` AND `lab`.`#unit`.`name` = `held`.`unit_outbound`.`name` AND (n > 3));

-- dj_link: keys: unsettled
SELECT `held`.`unit_outbound`.`n`, IF(LOCATE(0xED, BINARY `held`.`unit_outbound`.`name`) AND NOT BINARY CONVERT(CONVERT(`held`.`unit_outbound`.`name` USING utf16) USING utf8mb4) <=> BINARY `held`.`unit_outbound`.`name`, CONCAT('￿bytes:', HEX(`held`.`unit_outbound`.`name`)), CONVERT(`held`.`unit_outbound`.`name` USING utf8mb4))
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`._process = 'NONE'
    AND EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_approved` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND EXISTS (SELECT 1
    FROM `lab`.`#unit`
    WHERE `lab`.`#unit`.`n` = `held`.`unit_outbound`.`n` AND `lab`.`#unit`.`name` = `held`.`unit_outbound`.`name` AND (n > 3));

-- dj_link: who holds what
SELECT COALESCE(SUM(CASE WHEN `held`.`unit_outbound`._process = 'NONE'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`) THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN `held`.`unit_outbound`._process = 'NONE'
    AND EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_approved` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`) THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN `held`.`unit_outbound`._process = 'NONE'
    AND EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_approved` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`) THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN `held`.`unit_outbound`._process IN ('PULL', 'DELETE') THEN 1 ELSE 0 END), 0)
    FROM `held`.`unit_outbound`;

-- dj_link: the source flags
INSERT INTO `held`.`unit_outbound__deletion_requested` (`n`, `name`)
    SELECT `held`.`unit_outbound`.`n`, `held`.`unit_outbound`.`name`
    FROM `held`.`unit_outbound`
    WHERE NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND EXISTS (SELECT 1
    FROM `lab`.`#unit`
    WHERE `lab`.`#unit`.`n` = `held`.`unit_outbound`.`n` AND `lab`.`#unit`.`name` = `held`.`unit_outbound`.`name` AND (n > 3))
    ON DUPLICATE KEY UPDATE `held`.`unit_outbound__deletion_requested`.`n` = `held`.`unit_outbound__deletion_requested`.`n`;

-- dj_link: the source unflags
DELETE `held`.`unit_outbound__deletion_requested`
    FROM `held`.`unit_outbound` STRAIGHT_JOIN `held`.`unit_outbound__deletion_requested` ON `held`.`unit_outbound`.`n` = `held`.`unit_outbound__deletion_requested`.`n` AND `held`.`unit_outbound`.`name` = `held`.`unit_outbound__deletion_requested`.`name`
    WHERE 1 = 1;

-- dj_link: the source clears away what is deprecated: ('[[1, "a"], [2, "b"]]',)
DELETE `held`.`unit_outbound__deletion_approved`
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound__deletion_approved` ON `held`.`unit_outbound__deletion_approved`.`n` = `~keys`.`~0` AND `held`.`unit_outbound__deletion_approved`.`name` = `~keys`.`~1`
    WHERE 1 = 1;

-- dj_link: the source clears away what is deprecated: ('[[1, "a"], [2, "b"]]',)
DELETE `held`.`unit_outbound__deletion_requested`
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound__deletion_requested` ON `held`.`unit_outbound__deletion_requested`.`n` = `~keys`.`~0` AND `held`.`unit_outbound__deletion_requested`.`name` = `~keys`.`~1`
    WHERE EXISTS (SELECT 1
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.`n` = `held`.`unit_outbound__deletion_requested`.`n` AND `held`.`unit_outbound`.`name` = `held`.`unit_outbound__deletion_requested`.`name` AND `held`.`unit_outbound`._process = 'NONE');

-- dj_link: the source clears away what is deprecated: ('[[1, "a"], [2, "b"]]',)
DELETE `held`.`unit_outbound`
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    WHERE 1 = 1;

-- dj_link: transition b, range: (1, 1, 'a', 7, 7, "it's 100%")
UPDATE `held`.`unit_outbound`
    SET _process = 'PULL', _worker = 7
    WHERE `held`.`unit_outbound`._process = 'NONE'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_approved` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s));

-- dj_link: transition b, range: (7, 1, 1, 'a', 7, 7, "it's 100%")
DELETE
    FROM `held`.`unit_outbound__deletion_approved`
    WHERE EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.`n` = `held`.`unit_outbound__deletion_approved`.`n` AND `held`.`unit_outbound`.`name` = `held`.`unit_outbound__deletion_approved`.`name` AND `held`.`unit_outbound`._process = 'PULL' AND `held`.`unit_outbound`._worker = %s)
    AND ((`held`.`unit_outbound__deletion_approved`.`n` > %s) OR (`held`.`unit_outbound__deletion_approved`.`n` = %s AND `held`.`unit_outbound__deletion_approved`.`name` > %s))
    AND ((`held`.`unit_outbound__deletion_approved`.`n` < %s) OR (`held`.`unit_outbound__deletion_approved`.`n` = %s AND `held`.`unit_outbound__deletion_approved`.`name` <= %s));

-- dj_link: transition b, keys: ('[[1, "a"], [2, "b"]]',)
UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    SET _process = 'PULL', _worker = 7
    WHERE `held`.`unit_outbound`._process = 'NONE'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_approved` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`);

-- dj_link: transition b, keys: ('[[1, "a"], [2, "b"]]', 7)
DELETE `held`.`unit_outbound__deletion_approved`
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound__deletion_approved` ON `held`.`unit_outbound__deletion_approved`.`n` = `~keys`.`~0` AND `held`.`unit_outbound__deletion_approved`.`name` = `~keys`.`~1`
    WHERE EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.`n` = `held`.`unit_outbound__deletion_approved`.`n` AND `held`.`unit_outbound`.`name` = `held`.`unit_outbound__deletion_approved`.`name` AND `held`.`unit_outbound`._process = 'PULL' AND `held`.`unit_outbound`._worker = %s);

-- dj_link: transition b, range: (1, 1, 'a', 7, 7, "it's 100%")
UPDATE `held`.`unit_outbound`
    SET _process = 'PULL', _worker = 7
    WHERE `held`.`unit_outbound`._process = 'NONE'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s));

-- dj_link: transition b, keys: ('[[1, "a"], [2, "b"]]',)
UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    SET _process = 'PULL', _worker = 7
    WHERE `held`.`unit_outbound`._process = 'NONE'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`);

-- dj_link: transition k, range: (1, 1, 'a', 7, 7, "it's 100%")
UPDATE `held`.`unit_outbound`
    SET _process = 'DELETE', _worker = 7
    WHERE `held`.`unit_outbound`._process = 'NONE'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s));

-- dj_link: transition k, keys: ('[[1, "a"], [2, "b"]]',)
UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    SET _process = 'DELETE', _worker = 7
    WHERE `held`.`unit_outbound`._process = 'NONE'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`);

-- dj_link: transition d, range: (7, 1, 1, 'a', 7, 7, "it's 100%")
DELETE
    FROM `held`.`unit_outbound__deletion_approved`
    WHERE EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.`n` = `held`.`unit_outbound__deletion_approved`.`n` AND `held`.`unit_outbound`.`name` = `held`.`unit_outbound__deletion_approved`.`name` AND `held`.`unit_outbound`._process = 'PULL' AND `held`.`unit_outbound`._worker = %s)
    AND ((`held`.`unit_outbound__deletion_approved`.`n` > %s) OR (`held`.`unit_outbound__deletion_approved`.`n` = %s AND `held`.`unit_outbound__deletion_approved`.`name` > %s))
    AND ((`held`.`unit_outbound__deletion_approved`.`n` < %s) OR (`held`.`unit_outbound__deletion_approved`.`n` = %s AND `held`.`unit_outbound__deletion_approved`.`name` <= %s));

-- dj_link: transition d, range: (7, 1, 1, 'a', 7, 7, "it's 100%")
UPDATE `held`.`unit_outbound`
    SET _process = 'NONE'
    WHERE `held`.`unit_outbound`._process = 'PULL' AND `held`.`unit_outbound`._worker = %s
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s));

-- dj_link: transition d, keys: ('[[1, "a"], [2, "b"]]', 7)
DELETE `held`.`unit_outbound__deletion_approved`
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound__deletion_approved` ON `held`.`unit_outbound__deletion_approved`.`n` = `~keys`.`~0` AND `held`.`unit_outbound__deletion_approved`.`name` = `~keys`.`~1`
    WHERE EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.`n` = `held`.`unit_outbound__deletion_approved`.`n` AND `held`.`unit_outbound`.`name` = `held`.`unit_outbound__deletion_approved`.`name` AND `held`.`unit_outbound`._process = 'PULL' AND `held`.`unit_outbound`._worker = %s);

-- dj_link: transition d, keys: ('[[1, "a"], [2, "b"]]', 7)
UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    SET _process = 'NONE'
    WHERE `held`.`unit_outbound`._process = 'PULL' AND `held`.`unit_outbound`._worker = %s;

-- dj_link: transition e, range: (7, 1, 1, 'a', 7, 7, "it's 100%")
DELETE
    FROM `held`.`unit_outbound__deletion_approved`
    WHERE EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.`n` = `held`.`unit_outbound__deletion_approved`.`n` AND `held`.`unit_outbound`.`name` = `held`.`unit_outbound__deletion_approved`.`name` AND `held`.`unit_outbound`._process = 'PULL'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`) AND `held`.`unit_outbound`._worker = %s)
    AND ((`held`.`unit_outbound__deletion_approved`.`n` > %s) OR (`held`.`unit_outbound__deletion_approved`.`n` = %s AND `held`.`unit_outbound__deletion_approved`.`name` > %s))
    AND ((`held`.`unit_outbound__deletion_approved`.`n` < %s) OR (`held`.`unit_outbound__deletion_approved`.`n` = %s AND `held`.`unit_outbound__deletion_approved`.`name` <= %s));

-- dj_link: transition e, range: (7, 1, 1, 'a', 7, 7, "it's 100%")
DELETE
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`._process = 'PULL'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`) AND `held`.`unit_outbound`._worker = %s
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s));

-- dj_link: transition e, keys: ('[[1, "a"], [2, "b"]]', 7)
DELETE `held`.`unit_outbound__deletion_approved`
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound__deletion_approved` ON `held`.`unit_outbound__deletion_approved`.`n` = `~keys`.`~0` AND `held`.`unit_outbound__deletion_approved`.`name` = `~keys`.`~1`
    WHERE EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.`n` = `held`.`unit_outbound__deletion_approved`.`n` AND `held`.`unit_outbound`.`name` = `held`.`unit_outbound__deletion_approved`.`name` AND `held`.`unit_outbound`._process = 'PULL'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`) AND `held`.`unit_outbound`._worker = %s);

-- dj_link: transition e, keys: ('[[1, "a"], [2, "b"]]', 7)
DELETE `held`.`unit_outbound`
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    WHERE `held`.`unit_outbound`._process = 'PULL'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`) AND `held`.`unit_outbound`._worker = %s;

-- dj_link: transition f, range: (1, 1, 'a', 7, 7, "it's 100%")
UPDATE `held`.`unit_outbound`
    SET _process = 'DELETE', _worker = 7
    WHERE `held`.`unit_outbound`._process IN ('NONE', 'PULL')
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s));

-- dj_link: transition f, keys: ('[[1, "a"], [2, "b"]]',)
UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    SET _process = 'DELETE', _worker = 7
    WHERE `held`.`unit_outbound`._process IN ('NONE', 'PULL');

-- dj_link: transition g, range: (7, 1, 1, 'a', 7, 7, "it's 100%")
UPDATE `held`.`unit_outbound`
    SET _process = 'NONE'
    WHERE `held`.`unit_outbound`._process = 'DELETE' AND `held`.`unit_outbound`._worker = %s
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s));

-- dj_link: transition g, keys: ('[[1, "a"], [2, "b"]]', 7)
UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    SET _process = 'NONE'
    WHERE `held`.`unit_outbound`._process = 'DELETE' AND `held`.`unit_outbound`._worker = %s;

-- dj_link: transition h, range: (7, 1, 1, 'a', 7, 7, "it's 100%")
DELETE
    FROM `held`.`unit_outbound__deletion_approved`
    WHERE EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.`n` = `held`.`unit_outbound__deletion_approved`.`n` AND `held`.`unit_outbound`.`name` = `held`.`unit_outbound__deletion_approved`.`name` AND `held`.`unit_outbound`._process = 'DELETE'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`) AND `held`.`unit_outbound`._worker = %s)
    AND ((`held`.`unit_outbound__deletion_approved`.`n` > %s) OR (`held`.`unit_outbound__deletion_approved`.`n` = %s AND `held`.`unit_outbound__deletion_approved`.`name` > %s))
    AND ((`held`.`unit_outbound__deletion_approved`.`n` < %s) OR (`held`.`unit_outbound__deletion_approved`.`n` = %s AND `held`.`unit_outbound__deletion_approved`.`name` <= %s));

-- dj_link: transition h, range: (7, 1, 1, 'a', 7, 7, "it's 100%")
DELETE
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`._process = 'DELETE'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`) AND `held`.`unit_outbound`._worker = %s
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s));

-- dj_link: transition h, keys: ('[[1, "a"], [2, "b"]]', 7)
DELETE `held`.`unit_outbound__deletion_approved`
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound__deletion_approved` ON `held`.`unit_outbound__deletion_approved`.`n` = `~keys`.`~0` AND `held`.`unit_outbound__deletion_approved`.`name` = `~keys`.`~1`
    WHERE EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.`n` = `held`.`unit_outbound__deletion_approved`.`n` AND `held`.`unit_outbound`.`name` = `held`.`unit_outbound__deletion_approved`.`name` AND `held`.`unit_outbound`._process = 'DELETE'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`) AND `held`.`unit_outbound`._worker = %s);

-- dj_link: transition h, keys: ('[[1, "a"], [2, "b"]]', 7)
DELETE `held`.`unit_outbound`
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    WHERE `held`.`unit_outbound`._process = 'DELETE'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`) AND `held`.`unit_outbound`._worker = %s;

-- dj_link: transition i, range: (7, 1, 1, 'a', 7, 7, "it's 100%")
INSERT INTO `held`.`unit_outbound__deletion_approved` (`n`, `name`)
    SELECT `held`.`unit_outbound`.`n`, `held`.`unit_outbound`.`name` 
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`._process = 'DELETE'
    AND EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`) AND `held`.`unit_outbound`._worker = %s
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s))
    ON DUPLICATE KEY UPDATE `held`.`unit_outbound__deletion_approved`.`n` = `held`.`unit_outbound__deletion_approved`.`n`;

-- dj_link: transition i, range: (7, 1, 1, 'a', 7, 7, "it's 100%")
UPDATE `held`.`unit_outbound`
    SET _process = 'NONE'
    WHERE `held`.`unit_outbound`._process = 'DELETE'
    AND EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`) AND `held`.`unit_outbound`._worker = %s
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s));

-- dj_link: transition i, keys: ('[[1, "a"], [2, "b"]]', 7)
INSERT INTO `held`.`unit_outbound__deletion_approved` (`n`, `name`)
    SELECT `held`.`unit_outbound`.`n`, `held`.`unit_outbound`.`name` 
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    WHERE `held`.`unit_outbound`._process = 'DELETE'
    AND EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`) AND `held`.`unit_outbound`._worker = %s
    ON DUPLICATE KEY UPDATE `held`.`unit_outbound__deletion_approved`.`n` = `held`.`unit_outbound__deletion_approved`.`n`;

-- dj_link: transition i, keys: ('[[1, "a"], [2, "b"]]', 7)
UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    SET _process = 'NONE'
    WHERE `held`.`unit_outbound`._process = 'DELETE'
    AND EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`) AND `held`.`unit_outbound`._worker = %s;

-- dj_link: transition j, range: (1, 1, 'a', 7, 7, "it's 100%")
INSERT INTO `held`.`unit_outbound__deletion_approved` (`n`, `name`)
    SELECT `held`.`unit_outbound`.`n`, `held`.`unit_outbound`.`name` 
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`._process = 'NONE'
    AND EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_approved` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s))
    ON DUPLICATE KEY UPDATE `held`.`unit_outbound__deletion_approved`.`n` = `held`.`unit_outbound__deletion_approved`.`n`;

-- dj_link: transition j, keys: ('[[1, "a"], [2, "b"]]',)
INSERT INTO `held`.`unit_outbound__deletion_approved` (`n`, `name`)
    SELECT `held`.`unit_outbound`.`n`, `held`.`unit_outbound`.`name` 
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    WHERE `held`.`unit_outbound`._process = 'NONE'
    AND EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_approved` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    ON DUPLICATE KEY UPDATE `held`.`unit_outbound__deletion_approved`.`n` = `held`.`unit_outbound__deletion_approved`.`n`;

-- dj_link: transition m, range: (1, 1, 'a', 7, 7, "it's 100%")
DELETE
    FROM `held`.`unit_outbound__deletion_approved`
    WHERE EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.`n` = `held`.`unit_outbound__deletion_approved`.`n` AND `held`.`unit_outbound`.`name` = `held`.`unit_outbound__deletion_approved`.`name` AND `held`.`unit_outbound`._process = 'NONE'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`))
    AND ((`held`.`unit_outbound__deletion_approved`.`n` > %s) OR (`held`.`unit_outbound__deletion_approved`.`n` = %s AND `held`.`unit_outbound__deletion_approved`.`name` > %s))
    AND ((`held`.`unit_outbound__deletion_approved`.`n` < %s) OR (`held`.`unit_outbound__deletion_approved`.`n` = %s AND `held`.`unit_outbound__deletion_approved`.`name` <= %s));

-- dj_link: transition m, range: (1, 1, 'a', 7, 7, "it's 100%")
DELETE
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`._process = 'NONE'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`)
    AND ((`held`.`unit_outbound`.`n` > %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` > %s))
    AND ((`held`.`unit_outbound`.`n` < %s) OR (`held`.`unit_outbound`.`n` = %s AND `held`.`unit_outbound`.`name` <= %s));

-- dj_link: transition m, keys: ('[[1, "a"], [2, "b"]]',)
DELETE `held`.`unit_outbound__deletion_approved`
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound__deletion_approved` ON `held`.`unit_outbound__deletion_approved`.`n` = `~keys`.`~0` AND `held`.`unit_outbound__deletion_approved`.`name` = `~keys`.`~1`
    WHERE EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.`n` = `held`.`unit_outbound__deletion_approved`.`n` AND `held`.`unit_outbound`.`name` = `held`.`unit_outbound__deletion_approved`.`name` AND `held`.`unit_outbound`._process = 'NONE'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`));

-- dj_link: transition m, keys: ('[[1, "a"], [2, "b"]]',)
DELETE `held`.`unit_outbound`
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~keys`.`~0` AND `held`.`unit_outbound`.`name` = `~keys`.`~1`
    WHERE `held`.`unit_outbound`._process = 'NONE'
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound__deletion_requested` `~part`
    WHERE `~part`.`n` = `held`.`unit_outbound`.`n` AND `~part`.`name` = `held`.`unit_outbound`.`name`);

-- ask for what others have in hand
SELECT EXISTS (SELECT 1
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.process IN ('PULL', 'DELETE') AND `held`.`unit_outbound`._worker <> 4711), EXISTS (SELECT 1
    FROM `held`.`rate_outbound`
    WHERE `held`.`rate_outbound`.process IN ('PULL', 'DELETE') AND `held`.`rate_outbound`._worker <> 4711), EXISTS (SELECT 1
    FROM `held`.`note_outbound`
    WHERE `held`.`note_outbound`.process IN ('PULL', 'DELETE') AND `held`.`note_outbound`._worker <> 4711), (SELECT COUNT(*)
    FROM (SELECT 1
    FROM `lab`.`#unit`
    WHERE 1 = 1 LIMIT 65) `~some`);

-- hold what is referred to: Rate.n: (1, 1, 'a', 1, 'a')
INSERT INTO `held`.`unit_outbound` (`n`, `name`, `process`, `is_flagged`, `is_deprecated`, `_worker`, `_pulled`, `_refreshed`)
    SELECT `lab`.`#unit`.`n`, `lab`.`#unit`.`name`, 'PULL', 'FALSE', 'FALSE', 4711, CURRENT_TIMESTAMP,
    FROM_UNIXTIME(1)
    FROM (SELECT DISTINCT `held`.`rate_outbound`.`n` AS `n`, `held`.`rate_outbound`.`name` AS `name`
    FROM `held`.`rate_outbound`
    WHERE `held`.`rate_outbound`.process = 'PULL' AND `held`.`rate_outbound`._worker = 4711
    AND ((`held`.`rate_outbound`.`n` > %s) OR (`held`.`rate_outbound`.`n` = %s AND `held`.`rate_outbound`.`name` > %s) OR (`held`.`rate_outbound`.`n` = %s AND `held`.`rate_outbound`.`name` = %s))) `~referred` STRAIGHT_JOIN `lab`.`#unit` ON `lab`.`#unit`.`n` = `~referred`.`n` AND `lab`.`#unit`.`name` = `~referred`.`name`
    WHERE NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~held`
    WHERE `~referred`.`n` = `~held`.`n` AND `~referred`.`name` = `~held`.`name`)
    ON DUPLICATE KEY UPDATE `held`.`unit_outbound`.`n` = `held`.`unit_outbound`.`n`;

-- let go of what depends on what is not held
DELETE
    FROM `held`.`rate_outbound`
    WHERE `held`.`rate_outbound`.process = 'PULL' AND `held`.`rate_outbound`._worker = 4711 AND `held`.`rate_outbound`.is_flagged = 'FALSE' AND (NOT EXISTS (SELECT 1
    FROM `held`.`unit_outbound` `~held`
    WHERE `~held`.`n` = `held`.`rate_outbound`.`n` AND `~held`.`name` = `held`.`rate_outbound`.`name`));

-- take in hand again what is needed
SELECT COUNT(*)
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'FALSE' AND (EXISTS (SELECT 1
    FROM `held`.`rate_outbound`
    WHERE `held`.`unit_outbound`.`n` = `held`.`rate_outbound`.`n` AND `held`.`unit_outbound`.`name` = `held`.`rate_outbound`.`name` AND `held`.`rate_outbound`.process = 'PULL' AND `held`.`rate_outbound`._worker = 4711));

-- refers to what nobody holds, or is flagged
NOT EXISTS (SELECT 1
    FROM `held`.`unit_outbound` `~held`
    WHERE `~held`.`n` = `held`.`rate_outbound`.`n` AND `~held`.`name` = `held`.`rate_outbound`.`name`);

-- refers to what nobody holds, or is flagged
EXISTS (SELECT 1
    FROM `held`.`unit_outbound` `~held`
    WHERE `~held`.`n` = `held`.`rate_outbound`.`n` AND `~held`.`name` = `held`.`rate_outbound`.`name` AND `~held`.is_flagged = 'TRUE');

-- what shared entities refer to
EXISTS (SELECT 1
    FROM `held`.`rate_outbound`
    WHERE `lab`.`#unit`.`n` = `held`.`rate_outbound`.`n` AND `lab`.`#unit`.`name` = `held`.`rate_outbound`.`name` AND `held`.`rate_outbound`.process = 'NONE' AND `held`.`rate_outbound`.is_flagged = 'FALSE'
    AND EXISTS (SELECT 1
    FROM `lab`.`__rate`
    WHERE `lab`.`__rate`.`n` = `held`.`rate_outbound`.`n` AND `lab`.`__rate`.`name` = `held`.`rate_outbound`.`name` AND `lab`.`__rate`.`bin` = `held`.`rate_outbound`.`bin` AND (n > 3)));

-- hold what is referred to: Rate.Beside.of_n: (1, 1, 'a', 1, 'a')
INSERT INTO `held`.`unit_outbound` (`n`, `name`, `process`, `is_flagged`, `is_deprecated`, `_worker`, `_pulled`, `_refreshed`)
    SELECT `lab`.`#unit`.`n`, `lab`.`#unit`.`name`, 'PULL', 'FALSE', 'FALSE', 4711, CURRENT_TIMESTAMP,
    FROM_UNIXTIME(1)
    FROM (SELECT DISTINCT `lab`.`__rate__beside`.`of_n` AS `n`, `lab`.`__rate__beside`.`of_name` AS `name`
    FROM `held`.`rate_outbound` STRAIGHT_JOIN `lab`.`__rate__beside` ON `lab`.`__rate__beside`.`n` = `held`.`rate_outbound`.`n` AND `lab`.`__rate__beside`.`name` = `held`.`rate_outbound`.`name` AND `lab`.`__rate__beside`.`bin` = `held`.`rate_outbound`.`bin`
    WHERE `held`.`rate_outbound`.process = 'PULL' AND `held`.`rate_outbound`._worker = 4711
    AND ((`held`.`rate_outbound`.`n` > %s) OR (`held`.`rate_outbound`.`n` = %s AND `held`.`rate_outbound`.`name` > %s) OR (`held`.`rate_outbound`.`n` = %s AND `held`.`rate_outbound`.`name` = %s)) AND `lab`.`__rate__beside`.`of_n` IS NOT NULL AND `lab`.`__rate__beside`.`of_name` IS NOT NULL) `~referred` STRAIGHT_JOIN `lab`.`#unit` ON `lab`.`#unit`.`n` = `~referred`.`n` AND `lab`.`#unit`.`name` = `~referred`.`name`
    WHERE NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~held`
    WHERE `~referred`.`n` = `~held`.`n` AND `~referred`.`name` = `~held`.`name`)
    ON DUPLICATE KEY UPDATE `held`.`unit_outbound`.`n` = `held`.`unit_outbound`.`n`;

-- let go of what depends on what is not held
DELETE
    FROM `held`.`rate_outbound`
    WHERE `held`.`rate_outbound`.process = 'PULL' AND `held`.`rate_outbound`._worker = 4711 AND `held`.`rate_outbound`.is_flagged = 'FALSE' AND (EXISTS (SELECT 1
    FROM `lab`.`__rate__beside`
    WHERE `lab`.`__rate__beside`.`n` = `held`.`rate_outbound`.`n` AND `lab`.`__rate__beside`.`name` = `held`.`rate_outbound`.`name` AND `lab`.`__rate__beside`.`bin` = `held`.`rate_outbound`.`bin` AND `lab`.`__rate__beside`.`of_n` IS NOT NULL AND `lab`.`__rate__beside`.`of_name` IS NOT NULL
    AND NOT EXISTS (SELECT 1
    FROM `held`.`unit_outbound` `~held`
    WHERE `~held`.`n` = `lab`.`__rate__beside`.`of_n` AND `~held`.`name` = `lab`.`__rate__beside`.`of_name`)));

-- take in hand again what is needed
SELECT COUNT(*)
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'FALSE' AND (EXISTS (SELECT 1
    FROM `held`.`rate_outbound` STRAIGHT_JOIN `lab`.`__rate__beside` ON `lab`.`__rate__beside`.`n` = `held`.`rate_outbound`.`n` AND `lab`.`__rate__beside`.`name` = `held`.`rate_outbound`.`name` AND `lab`.`__rate__beside`.`bin` = `held`.`rate_outbound`.`bin`
    WHERE `held`.`unit_outbound`.`n` = `lab`.`__rate__beside`.`of_n` AND `held`.`unit_outbound`.`name` = `lab`.`__rate__beside`.`of_name` AND `lab`.`__rate__beside`.`of_n` IS NOT NULL AND `lab`.`__rate__beside`.`of_name` IS NOT NULL AND `held`.`rate_outbound`.process = 'PULL' AND `held`.`rate_outbound`._worker = 4711));

-- refers to what nobody holds, or is flagged
EXISTS (SELECT 1
    FROM `lab`.`__rate__beside`
    WHERE `lab`.`__rate__beside`.`n` = `held`.`rate_outbound`.`n` AND `lab`.`__rate__beside`.`name` = `held`.`rate_outbound`.`name` AND `lab`.`__rate__beside`.`bin` = `held`.`rate_outbound`.`bin` AND `lab`.`__rate__beside`.`of_n` IS NOT NULL AND `lab`.`__rate__beside`.`of_name` IS NOT NULL
    AND NOT EXISTS (SELECT 1
    FROM `held`.`unit_outbound` `~held`
    WHERE `~held`.`n` = `lab`.`__rate__beside`.`of_n` AND `~held`.`name` = `lab`.`__rate__beside`.`of_name`));

-- refers to what nobody holds, or is flagged
EXISTS (SELECT 1
    FROM `lab`.`__rate__beside`
    WHERE `lab`.`__rate__beside`.`n` = `held`.`rate_outbound`.`n` AND `lab`.`__rate__beside`.`name` = `held`.`rate_outbound`.`name` AND `lab`.`__rate__beside`.`bin` = `held`.`rate_outbound`.`bin` AND `lab`.`__rate__beside`.`of_n` IS NOT NULL AND `lab`.`__rate__beside`.`of_name` IS NOT NULL
    AND EXISTS (SELECT 1
    FROM `held`.`unit_outbound` `~held`
    WHERE `~held`.`n` = `lab`.`__rate__beside`.`of_n` AND `~held`.`name` = `lab`.`__rate__beside`.`of_name` AND `~held`.is_flagged = 'TRUE'));

-- what shared entities refer to
EXISTS (SELECT 1
    FROM `lab`.`__rate__beside` JOIN `held`.`rate_outbound` ON `lab`.`__rate__beside`.`n` = `held`.`rate_outbound`.`n` AND `lab`.`__rate__beside`.`name` = `held`.`rate_outbound`.`name` AND `lab`.`__rate__beside`.`bin` = `held`.`rate_outbound`.`bin`
    WHERE `lab`.`#unit`.`n` = `lab`.`__rate__beside`.`of_n` AND `lab`.`#unit`.`name` = `lab`.`__rate__beside`.`of_name` AND `lab`.`__rate__beside`.`of_n` IS NOT NULL AND `lab`.`__rate__beside`.`of_name` IS NOT NULL AND `held`.`rate_outbound`.process = 'NONE' AND `held`.`rate_outbound`.is_flagged = 'FALSE'
    AND EXISTS (SELECT 1
    FROM `lab`.`__rate`
    WHERE `lab`.`__rate`.`n` = `held`.`rate_outbound`.`n` AND `lab`.`__rate`.`name` = `held`.`rate_outbound`.`name` AND `lab`.`__rate`.`bin` = `held`.`rate_outbound`.`bin` AND (n > 3)));

-- hold what is referred to: Note.spike: (1,)
INSERT INTO `held`.`unit_outbound` (`n`, `name`, `process`, `is_flagged`, `is_deprecated`, `_worker`, `_pulled`, `_refreshed`)
    SELECT `lab`.`#unit`.`n`, `lab`.`#unit`.`name`, 'PULL', 'FALSE', 'FALSE', 4711, CURRENT_TIMESTAMP,
    FROM_UNIXTIME(1)
    FROM (SELECT DISTINCT `~through`.`n` AS `n`, `~through`.`name` AS `name`
    FROM `held`.`note_outbound` STRAIGHT_JOIN (`lab`.`note` JOIN `lab`.`#unit__spike` `~through` ON `~through`.`spike` = `lab`.`note`.`spike`) ON `lab`.`note`.`n` = `held`.`note_outbound`.`n`
    WHERE `held`.`note_outbound`.process = 'PULL' AND `held`.`note_outbound`._worker = 4711
    AND ((`held`.`note_outbound`.`n` > %s)) AND `lab`.`note`.`spike` IS NOT NULL) `~referred` STRAIGHT_JOIN `lab`.`#unit` ON `lab`.`#unit`.`n` = `~referred`.`n` AND `lab`.`#unit`.`name` = `~referred`.`name`
    WHERE NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~held`
    WHERE `~referred`.`n` = `~held`.`n` AND `~referred`.`name` = `~held`.`name`)
    ON DUPLICATE KEY UPDATE `held`.`unit_outbound`.`n` = `held`.`unit_outbound`.`n`;

-- let go of what depends on what is not held
DELETE
    FROM `held`.`note_outbound`
    WHERE `held`.`note_outbound`.process = 'PULL' AND `held`.`note_outbound`._worker = 4711 AND `held`.`note_outbound`.is_flagged = 'FALSE' AND (EXISTS (SELECT 1
    FROM (`lab`.`note` JOIN `lab`.`#unit__spike` `~through` ON `~through`.`spike` = `lab`.`note`.`spike`)
    WHERE `lab`.`note`.`n` = `held`.`note_outbound`.`n` AND `lab`.`note`.`spike` IS NOT NULL
    AND NOT EXISTS (SELECT 1
    FROM `held`.`unit_outbound` `~held`
    WHERE `~held`.`n` = `~through`.`n` AND `~held`.`name` = `~through`.`name`)));

-- take in hand again what is needed
SELECT COUNT(*)
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_flagged = 'FALSE' AND (EXISTS (SELECT 1
    FROM `held`.`note_outbound` STRAIGHT_JOIN (`lab`.`note` JOIN `lab`.`#unit__spike` `~through` ON `~through`.`spike` = `lab`.`note`.`spike`) ON `lab`.`note`.`n` = `held`.`note_outbound`.`n`
    WHERE `held`.`unit_outbound`.`n` = `~through`.`n` AND `held`.`unit_outbound`.`name` = `~through`.`name` AND `lab`.`note`.`spike` IS NOT NULL AND `held`.`note_outbound`.process = 'PULL' AND `held`.`note_outbound`._worker = 4711));

-- refers to what nobody holds, or is flagged
EXISTS (SELECT 1
    FROM (`lab`.`note` JOIN `lab`.`#unit__spike` `~through` ON `~through`.`spike` = `lab`.`note`.`spike`)
    WHERE `lab`.`note`.`n` = `held`.`note_outbound`.`n` AND `lab`.`note`.`spike` IS NOT NULL
    AND NOT EXISTS (SELECT 1
    FROM `held`.`unit_outbound` `~held`
    WHERE `~held`.`n` = `~through`.`n` AND `~held`.`name` = `~through`.`name`));

-- refers to what nobody holds, or is flagged
EXISTS (SELECT 1
    FROM (`lab`.`note` JOIN `lab`.`#unit__spike` `~through` ON `~through`.`spike` = `lab`.`note`.`spike`)
    WHERE `lab`.`note`.`n` = `held`.`note_outbound`.`n` AND `lab`.`note`.`spike` IS NOT NULL
    AND EXISTS (SELECT 1
    FROM `held`.`unit_outbound` `~held`
    WHERE `~held`.`n` = `~through`.`n` AND `~held`.`name` = `~through`.`name` AND `~held`.is_flagged = 'TRUE'));

-- what shared entities refer to
EXISTS (SELECT 1
    FROM (`lab`.`note` JOIN `lab`.`#unit__spike` `~through` ON `~through`.`spike` = `lab`.`note`.`spike`) JOIN `held`.`note_outbound` ON `lab`.`note`.`n` = `held`.`note_outbound`.`n`
    WHERE `lab`.`#unit`.`n` = `~through`.`n` AND `lab`.`#unit`.`name` = `~through`.`name` AND `lab`.`note`.`spike` IS NOT NULL AND `held`.`note_outbound`.process = 'NONE' AND `held`.`note_outbound`.is_flagged = 'FALSE'
    AND EXISTS (SELECT 1
    FROM `lab`.`note`
    WHERE `lab`.`note`.`n` = `held`.`note_outbound`.`n` AND (n > 3)));

-- let go of what nothing needs
DELETE
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.process = 'PULL' AND `held`.`unit_outbound`._worker = 4711 AND `held`.`unit_outbound`.is_flagged = 'FALSE' AND NOT (EXISTS (SELECT 1
    FROM `held`.`rate_outbound`
    WHERE `held`.`unit_outbound`.`n` = `held`.`rate_outbound`.`n` AND `held`.`unit_outbound`.`name` = `held`.`rate_outbound`.`name`) OR EXISTS (SELECT 1
    FROM `held`.`rate_outbound` STRAIGHT_JOIN `lab`.`__rate__beside` ON `lab`.`__rate__beside`.`n` = `held`.`rate_outbound`.`n` AND `lab`.`__rate__beside`.`name` = `held`.`rate_outbound`.`name` AND `lab`.`__rate__beside`.`bin` = `held`.`rate_outbound`.`bin`
    WHERE `held`.`unit_outbound`.`n` = `lab`.`__rate__beside`.`of_n` AND `held`.`unit_outbound`.`name` = `lab`.`__rate__beside`.`of_name` AND `lab`.`__rate__beside`.`of_n` IS NOT NULL AND `lab`.`__rate__beside`.`of_name` IS NOT NULL) OR EXISTS (SELECT 1
    FROM `held`.`note_outbound` STRAIGHT_JOIN (`lab`.`note` JOIN `lab`.`#unit__spike` `~through` ON `~through`.`spike` = `lab`.`note`.`spike`) ON `lab`.`note`.`n` = `held`.`note_outbound`.`n`
    WHERE `held`.`unit_outbound`.`n` = `~through`.`n` AND `held`.`unit_outbound`.`name` = `~through`.`name` AND `lab`.`note`.`spike` IS NOT NULL) OR EXISTS (SELECT 1
    FROM `lab`.`#unit`
    WHERE `lab`.`#unit`.`n` = `held`.`unit_outbound`.`n` AND `lab`.`#unit`.`name` = `held`.`unit_outbound`.`name` AND (n > 3)));

-- is anything flagged
SELECT 0, EXISTS (SELECT 1
    FROM `held`.`unit_outbound`
    WHERE `held`.`unit_outbound`.is_flagged = 'TRUE');

-- plan: all that is needed
WITH `~selected0` (`~0`, `~1`, `~2`) AS (SELECT `lab`.`__rate`.`n`, `lab`.`__rate`.`name`, `lab`.`__rate`.`bin`
    FROM `lab`.`__rate`
    WHERE ((n > 3) OR (bin = 7))), `~referred1` (`~0`, `~1`) AS (SELECT DISTINCT `lab`.`__rate__beside`.`of_n`, `lab`.`__rate__beside`.`of_name`
    FROM `~selected0` STRAIGHT_JOIN `lab`.`__rate__beside` ON `lab`.`__rate__beside`.`n` = `~selected0`.`~0` AND `lab`.`__rate__beside`.`name` = `~selected0`.`~1` AND `lab`.`__rate__beside`.`bin` = `~selected0`.`~2`
    WHERE `lab`.`__rate__beside`.`of_n` IS NOT NULL AND `lab`.`__rate__beside`.`of_name` IS NOT NULL), `~selected2` (`~0`) AS (SELECT `lab`.`note`.`n`
    FROM `lab`.`note`
    WHERE ((n > 3))), `~referred3` (`~0`, `~1`) AS (SELECT DISTINCT `lab`.`#unit__spike`.`n`, `lab`.`#unit__spike`.`name`
    FROM `~selected2` STRAIGHT_JOIN `lab`.`note` ON `lab`.`note`.`n` = `~selected2`.`~0` STRAIGHT_JOIN `lab`.`#unit__spike` ON `lab`.`#unit__spike`.`spike` = `lab`.`note`.`spike`
    WHERE `lab`.`note`.`spike` IS NOT NULL), `~needed4` (`~0`, `~1`) AS (SELECT `~0`, `~1`
    FROM `~selected0` UNION
    SELECT `~0`, `~1`
    FROM `~referred1` UNION
    SELECT `~0`, `~1`
    FROM `~referred3`), `~unheld5` (`~0`, `~1`) AS (SELECT `~needed4`.`~0`, `~needed4`.`~1`
    FROM `~needed4` LEFT JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~needed4`.`~0` AND `held`.`unit_outbound`.`name` = `~needed4`.`~1` AND `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_deprecated = 'FALSE'
    WHERE `held`.`unit_outbound`.`n` IS NULL)
    SELECT 0, COUNT(*), 0, 0
    FROM `~needed4` STRAIGHT_JOIN `lab`.`#unit` ON `lab`.`#unit`.`n` = `~needed4`.`~0` AND `lab`.`#unit`.`name` = `~needed4`.`~1` UNION ALL
    SELECT 1, COUNT(*), 0, 0
    FROM `~unheld5` STRAIGHT_JOIN `lab`.`#unit` ON `lab`.`#unit`.`n` = `~unheld5`.`~0` AND `lab`.`#unit`.`name` = `~unheld5`.`~1` UNION ALL
    SELECT 2, COUNT(*), COUNT(`lab`.`#unit`.`wave`), COALESCE(SUM(JSON_EXTRACT(`lab`.`#unit`.`wave`, '$.size')), 0)
    FROM `~unheld5` STRAIGHT_JOIN `lab`.`#unit` ON `lab`.`#unit`.`n` = `~unheld5`.`~0` AND `lab`.`#unit`.`name` = `~unheld5`.`~1` UNION ALL
    SELECT 3, COUNT(*), COALESCE(SUM(`~size`), 0), 0
    FROM (SELECT COALESCE(LENGTH(`lab`.`#unit`.`n`), 0)+COALESCE(LENGTH(`lab`.`#unit`.`name`), 0)+COALESCE(LENGTH(`lab`.`#unit`.`x`), 0)+COALESCE(LENGTH(`lab`.`#unit`.`wave`), 0) AS `~size`
    FROM `~unheld5` STRAIGHT_JOIN `lab`.`#unit` ON `lab`.`#unit`.`n` = `~unheld5`.`~0` AND `lab`.`#unit`.`name` = `~unheld5`.`~1` LIMIT 1000) AS `~sample` UNION ALL
    SELECT 4, COUNT(*), 0, 0
    FROM `~unheld5` STRAIGHT_JOIN `lab`.`#unit__spike` ON `lab`.`#unit__spike`.`n` = `~unheld5`.`~0` AND `lab`.`#unit__spike`.`name` = `~unheld5`.`~1` UNION ALL
    SELECT 5, COUNT(*), 0, 0
    FROM `~selected0` UNION ALL
    SELECT 6, COUNT(*), 0, 0
    FROM `~selected0` STRAIGHT_JOIN `lab`.`__rate__beside` ON `lab`.`__rate__beside`.`n` = `~selected0`.`~0` AND `lab`.`__rate__beside`.`name` = `~selected0`.`~1` AND `lab`.`__rate__beside`.`bin` = `~selected0`.`~2` UNION ALL
    SELECT 7, COUNT(*), 0, 0
    FROM `~selected2`;

-- plan: what is selected
(((n > 3))) AND NOT (EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~asked`
    WHERE `~asked`.`n` = `lab`.`#unit`.`n` AND `~asked`.`name` = `lab`.`#unit`.`name` AND `~asked`.is_flagged = 'TRUE'));

-- plan: what is selected
(EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `lab`.`#unit`
    WHERE `lab`.`#unit`.`n` = `lab`.`__rate`.`n` AND `lab`.`#unit`.`name` = `lab`.`__rate`.`name`
    AND ((n > 3))) OR EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `lab`.`__rate__beside`
    WHERE `lab`.`__rate__beside`.`n` = `lab`.`__rate`.`n` AND `lab`.`__rate__beside`.`name` = `lab`.`__rate`.`name` AND `lab`.`__rate__beside`.`bin` = `lab`.`__rate`.`bin` AND `lab`.`__rate__beside`.`of_n` IS NOT NULL AND `lab`.`__rate__beside`.`of_name` IS NOT NULL AND (EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `lab`.`#unit`
    WHERE `lab`.`#unit`.`n` = `lab`.`__rate__beside`.`of_n` AND `lab`.`#unit`.`name` = `lab`.`__rate__beside`.`of_name`
    AND ((n > 3)))))) AND NOT (EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~asked`
    WHERE `~asked`.`n` = `lab`.`__rate`.`n` AND `~asked`.`name` = `lab`.`__rate`.`name` AND `~asked`.is_flagged = 'TRUE') OR EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `lab`.`__rate__beside`
    WHERE `lab`.`__rate__beside`.`n` = `lab`.`__rate`.`n` AND `lab`.`__rate__beside`.`name` = `lab`.`__rate`.`name` AND `lab`.`__rate__beside`.`bin` = `lab`.`__rate`.`bin` AND `lab`.`__rate__beside`.`of_n` IS NOT NULL AND `lab`.`__rate__beside`.`of_name` IS NOT NULL AND (EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~asked`
    WHERE `~asked`.`n` = `lab`.`__rate__beside`.`of_n` AND `~asked`.`name` = `lab`.`__rate__beside`.`of_name` AND `~asked`.is_flagged = 'TRUE'))));

-- plan: what is selected
(EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `lab`.`#unit__spike` `~through 0`
    WHERE `~through 0`.`spike` = `lab`.`note`.`spike` AND `lab`.`note`.`spike` IS NOT NULL AND (EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `lab`.`#unit`
    WHERE `lab`.`#unit`.`n` = `~through 0`.`n` AND `lab`.`#unit`.`name` = `~through 0`.`name`
    AND ((n > 3)))))) AND NOT (EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `lab`.`#unit__spike` `~through 0`
    WHERE `~through 0`.`spike` = `lab`.`note`.`spike` AND `lab`.`note`.`spike` IS NOT NULL AND (EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~asked`
    WHERE `~asked`.`n` = `~through 0`.`n` AND `~asked`.`name` = `~through 0`.`name` AND `~asked`.is_flagged = 'TRUE'))));

-- plan: all that is derived
WITH `~selected0` (`~0`, `~1`) AS (SELECT `lab`.`#unit`.`n`, `lab`.`#unit`.`name`
    FROM `lab`.`#unit`
    WHERE ((n > 3))), `~spared1` (`~0`, `~1`) AS (SELECT `~selected0`.`~0`, `~selected0`.`~1`
    FROM `~selected0`
    WHERE NOT (EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~asked`
    WHERE `~asked`.`n` = `~selected0`.`~0` AND `~asked`.`name` = `~selected0`.`~1` AND `~asked`.is_flagged = 'TRUE'))), `~selected2` (`~0`, `~1`, `~2`) AS (SELECT `lab`.`__rate`.`n`, `lab`.`__rate`.`name`, `lab`.`__rate`.`bin`
    FROM `~selected0` STRAIGHT_JOIN `lab`.`__rate` ON `lab`.`__rate`.`n` = `~selected0`.`~0` AND `lab`.`__rate`.`name` = `~selected0`.`~1` UNION
    SELECT DISTINCT `lab`.`__rate__beside`.`n`, `lab`.`__rate__beside`.`name`, `lab`.`__rate__beside`.`bin`
    FROM `~selected0` STRAIGHT_JOIN `lab`.`__rate__beside` ON `lab`.`__rate__beside`.`of_n` = `~selected0`.`~0` AND `lab`.`__rate__beside`.`of_name` = `~selected0`.`~1`
    WHERE `lab`.`__rate__beside`.`of_n` IS NOT NULL AND `lab`.`__rate__beside`.`of_name` IS NOT NULL), `~spared3` (`~0`, `~1`, `~2`) AS (SELECT `~selected2`.`~0`, `~selected2`.`~1`, `~selected2`.`~2`
    FROM `~selected2`
    WHERE NOT (EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~asked`
    WHERE `~asked`.`n` = `~selected2`.`~0` AND `~asked`.`name` = `~selected2`.`~1` AND `~asked`.is_flagged = 'TRUE') OR EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `lab`.`__rate__beside`
    WHERE `lab`.`__rate__beside`.`n` = `~selected2`.`~0` AND `lab`.`__rate__beside`.`name` = `~selected2`.`~1` AND `lab`.`__rate__beside`.`bin` = `~selected2`.`~2` AND `lab`.`__rate__beside`.`of_n` IS NOT NULL AND `lab`.`__rate__beside`.`of_name` IS NOT NULL AND (EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~asked`
    WHERE `~asked`.`n` = `lab`.`__rate__beside`.`of_n` AND `~asked`.`name` = `lab`.`__rate__beside`.`of_name` AND `~asked`.is_flagged = 'TRUE'))))), `~referred4` (`~0`, `~1`) AS (SELECT DISTINCT `lab`.`__rate__beside`.`of_n`, `lab`.`__rate__beside`.`of_name`
    FROM `~spared3` STRAIGHT_JOIN `lab`.`__rate__beside` ON `lab`.`__rate__beside`.`n` = `~spared3`.`~0` AND `lab`.`__rate__beside`.`name` = `~spared3`.`~1` AND `lab`.`__rate__beside`.`bin` = `~spared3`.`~2`
    WHERE `lab`.`__rate__beside`.`of_n` IS NOT NULL AND `lab`.`__rate__beside`.`of_name` IS NOT NULL), `~selected5` (`~0`) AS (SELECT `lab`.`note`.`n`
    FROM `~selected0` STRAIGHT_JOIN `lab`.`#unit__spike` ON `lab`.`#unit__spike`.`n` = `~selected0`.`~0` AND `lab`.`#unit__spike`.`name` = `~selected0`.`~1` STRAIGHT_JOIN `lab`.`note` ON `lab`.`#unit__spike`.`spike` = `lab`.`note`.`spike`
    WHERE `lab`.`note`.`spike` IS NOT NULL), `~spared6` (`~0`) AS (SELECT `~selected5`.`~0`
    FROM `~selected5`
    WHERE NOT (EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `lab`.`note` STRAIGHT_JOIN `lab`.`#unit__spike` `~through 0` ON `~through 0`.`spike` = `lab`.`note`.`spike`
    WHERE `lab`.`note`.`n` = `~selected5`.`~0` AND `lab`.`note`.`spike` IS NOT NULL AND (EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~asked`
    WHERE `~asked`.`n` = `~through 0`.`n` AND `~asked`.`name` = `~through 0`.`name` AND `~asked`.is_flagged = 'TRUE'))))), `~referred7` (`~0`, `~1`) AS (SELECT DISTINCT `lab`.`#unit__spike`.`n`, `lab`.`#unit__spike`.`name`
    FROM `~spared6` STRAIGHT_JOIN `lab`.`note` ON `lab`.`note`.`n` = `~spared6`.`~0` STRAIGHT_JOIN `lab`.`#unit__spike` ON `lab`.`#unit__spike`.`spike` = `lab`.`note`.`spike`
    WHERE `lab`.`note`.`spike` IS NOT NULL), `~needed8` (`~0`, `~1`) AS (SELECT `~0`, `~1`
    FROM `~spared1` UNION
    SELECT `~0`, `~1`
    FROM `~spared3` UNION
    SELECT `~0`, `~1`
    FROM `~referred4` UNION
    SELECT `~0`, `~1`
    FROM `~referred7`), `~unheld9` (`~0`, `~1`) AS (SELECT `~needed8`.`~0`, `~needed8`.`~1`
    FROM `~needed8` LEFT JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~needed8`.`~0` AND `held`.`unit_outbound`.`name` = `~needed8`.`~1` AND `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_deprecated = 'FALSE'
    WHERE `held`.`unit_outbound`.`n` IS NULL)
    SELECT 0, COUNT(*), 0, 0
    FROM `~needed8` STRAIGHT_JOIN `lab`.`#unit` ON `lab`.`#unit`.`n` = `~needed8`.`~0` AND `lab`.`#unit`.`name` = `~needed8`.`~1` UNION ALL
    SELECT 1, COUNT(*), 0, 0
    FROM `~unheld9` STRAIGHT_JOIN `lab`.`#unit` ON `lab`.`#unit`.`n` = `~unheld9`.`~0` AND `lab`.`#unit`.`name` = `~unheld9`.`~1` UNION ALL
    SELECT 2, COUNT(*), 0, 0
    FROM `~selected0` LEFT JOIN `held`.`unit_outbound` ON `held`.`unit_outbound`.`n` = `~selected0`.`~0` AND `held`.`unit_outbound`.`name` = `~selected0`.`~1` AND `held`.`unit_outbound`.process = 'NONE' AND `held`.`unit_outbound`.is_deprecated = 'FALSE'
    WHERE `held`.`unit_outbound`.`n` IS NULL AND (EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~asked`
    WHERE `~asked`.`n` = `~selected0`.`~0` AND `~asked`.`name` = `~selected0`.`~1` AND `~asked`.is_flagged = 'TRUE')) UNION ALL
    SELECT 3, COUNT(*), 0, 0
    FROM `~unheld9` STRAIGHT_JOIN `lab`.`#unit__spike` ON `lab`.`#unit__spike`.`n` = `~unheld9`.`~0` AND `lab`.`#unit__spike`.`name` = `~unheld9`.`~1` UNION ALL
    SELECT 4, COUNT(*), 0, 0
    FROM `~spared3` STRAIGHT_JOIN `lab`.`__rate` ON `lab`.`__rate`.`n` = `~spared3`.`~0` AND `lab`.`__rate`.`name` = `~spared3`.`~1` AND `lab`.`__rate`.`bin` = `~spared3`.`~2` UNION ALL
    SELECT 5, COUNT(*), 0, 0
    FROM `~selected2`
    WHERE 1 = 1 AND (EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~asked`
    WHERE `~asked`.`n` = `~selected2`.`~0` AND `~asked`.`name` = `~selected2`.`~1` AND `~asked`.is_flagged = 'TRUE') OR EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `lab`.`__rate__beside`
    WHERE `lab`.`__rate__beside`.`n` = `~selected2`.`~0` AND `lab`.`__rate__beside`.`name` = `~selected2`.`~1` AND `lab`.`__rate__beside`.`bin` = `~selected2`.`~2` AND `lab`.`__rate__beside`.`of_n` IS NOT NULL AND `lab`.`__rate__beside`.`of_name` IS NOT NULL AND (EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~asked`
    WHERE `~asked`.`n` = `lab`.`__rate__beside`.`of_n` AND `~asked`.`name` = `lab`.`__rate__beside`.`of_name` AND `~asked`.is_flagged = 'TRUE')))) UNION ALL
    SELECT 6, COUNT(*), 0, 0
    FROM `~spared3` STRAIGHT_JOIN `lab`.`__rate__beside` ON `lab`.`__rate__beside`.`n` = `~spared3`.`~0` AND `lab`.`__rate__beside`.`name` = `~spared3`.`~1` AND `lab`.`__rate__beside`.`bin` = `~spared3`.`~2` UNION ALL
    SELECT 7, COUNT(*), 0, 0
    FROM `~spared6` STRAIGHT_JOIN `lab`.`note` ON `lab`.`note`.`n` = `~spared6`.`~0` UNION ALL
    SELECT 8, COUNT(*), 0, 0
    FROM `~selected5`
    WHERE 1 = 1 AND (EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `lab`.`note` STRAIGHT_JOIN `lab`.`#unit__spike` `~through 0` ON `~through 0`.`spike` = `lab`.`note`.`spike`
    WHERE `lab`.`note`.`n` = `~selected5`.`~0` AND `lab`.`note`.`spike` IS NOT NULL AND (EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~asked`
    WHERE `~asked`.`n` = `~through 0`.`n` AND `~asked`.`name` = `~through 0`.`name` AND `~asked`.is_flagged = 'TRUE'))));

-- plan: read what is needed: ('[[1, "a", 2]]',)
WITH `~told0` (`~0`, `~1`, `~2`) AS (SELECT `lab`.`__rate`.`n`, `lab`.`__rate`.`name`, `lab`.`__rate`.`bin`
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR, `~2` int PATH '$[2]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `lab`.`__rate` ON `lab`.`__rate`.`n` = `~keys`.`~0` AND `lab`.`__rate`.`name` = `~keys`.`~1` AND `lab`.`__rate`.`bin` = `~keys`.`~2`), `~spared1` (`~0`, `~1`, `~2`) AS (SELECT `~told0`.`~0`, `~told0`.`~1`, `~told0`.`~2`
    FROM `~told0`
    WHERE NOT (EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~asked`
    WHERE `~asked`.`n` = `~told0`.`~0` AND `~asked`.`name` = `~told0`.`~1` AND `~asked`.is_flagged = 'TRUE') OR EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `lab`.`__rate__beside`
    WHERE `lab`.`__rate__beside`.`n` = `~told0`.`~0` AND `lab`.`__rate__beside`.`name` = `~told0`.`~1` AND `lab`.`__rate__beside`.`bin` = `~told0`.`~2` AND `lab`.`__rate__beside`.`of_n` IS NOT NULL AND `lab`.`__rate__beside`.`of_name` IS NOT NULL AND (EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~asked`
    WHERE `~asked`.`n` = `lab`.`__rate__beside`.`of_n` AND `~asked`.`name` = `lab`.`__rate__beside`.`of_name` AND `~asked`.is_flagged = 'TRUE')))))
    SELECT `lab`.`__rate`.`n`, IF(LOCATE(0xED, BINARY `lab`.`__rate`.`name`) AND NOT BINARY CONVERT(CONVERT(`lab`.`__rate`.`name` USING utf16) USING utf8mb4) <=> BINARY `lab`.`__rate`.`name`, CONCAT('￿bytes:', HEX(`lab`.`__rate`.`name`)), CONVERT(`lab`.`__rate`.`name` USING utf8mb4)), `lab`.`__rate`.`bin`
    FROM `~spared1` STRAIGHT_JOIN `lab`.`__rate` ON `lab`.`__rate`.`n` = `~spared1`.`~0` AND `lab`.`__rate`.`name` = `~spared1`.`~1` AND `lab`.`__rate`.`bin` = `~spared1`.`~2` LIMIT 20;

-- plan: which keys are needed: ('[[1, "a", 2]]', '[[1, "a"], [2, "b"]]', '[[1, "a"], [2, "b"]]')
WITH `~told0` (`~0`, `~1`, `~2`) AS (SELECT `lab`.`__rate`.`n`, `lab`.`__rate`.`name`, `lab`.`__rate`.`bin`
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR, `~2` int PATH '$[2]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `lab`.`__rate` ON `lab`.`__rate`.`n` = `~keys`.`~0` AND `lab`.`__rate`.`name` = `~keys`.`~1` AND `lab`.`__rate`.`bin` = `~keys`.`~2`), `~spared1` (`~0`, `~1`, `~2`) AS (SELECT `~told0`.`~0`, `~told0`.`~1`, `~told0`.`~2`
    FROM `~told0`
    WHERE NOT (EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~asked`
    WHERE `~asked`.`n` = `~told0`.`~0` AND `~asked`.`name` = `~told0`.`~1` AND `~asked`.is_flagged = 'TRUE') OR EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `lab`.`__rate__beside`
    WHERE `lab`.`__rate__beside`.`n` = `~told0`.`~0` AND `lab`.`__rate__beside`.`name` = `~told0`.`~1` AND `lab`.`__rate__beside`.`bin` = `~told0`.`~2` AND `lab`.`__rate__beside`.`of_n` IS NOT NULL AND `lab`.`__rate__beside`.`of_name` IS NOT NULL AND (EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `held`.`unit_outbound` `~asked`
    WHERE `~asked`.`n` = `lab`.`__rate__beside`.`of_n` AND `~asked`.`name` = `lab`.`__rate__beside`.`of_name` AND `~asked`.is_flagged = 'TRUE'))))), `~told2` (`~0`, `~1`) AS (SELECT `lab`.`#unit`.`n`, `lab`.`#unit`.`name`
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `lab`.`#unit` ON `lab`.`#unit`.`n` = `~keys`.`~0` AND `lab`.`#unit`.`name` = `~keys`.`~1`)
    SELECT `lab`.`#unit`.`n`, IF(LOCATE(0xED, BINARY `lab`.`#unit`.`name`) AND NOT BINARY CONVERT(CONVERT(`lab`.`#unit`.`name` USING utf16) USING utf8mb4) <=> BINARY `lab`.`#unit`.`name`, CONCAT('￿bytes:', HEX(`lab`.`#unit`.`name`)), CONVERT(`lab`.`#unit`.`name` USING utf8mb4))
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `lab`.`#unit` ON `lab`.`#unit`.`n` = `~keys`.`~0` AND `lab`.`#unit`.`name` = `~keys`.`~1`
    WHERE (`lab`.`#unit`.`n`, `lab`.`#unit`.`name`) IN (SELECT `~told2`.`~0`, `~told2`.`~1`
    FROM `~told2`);

-- plan: what is selected, by a set
(`lab`.`__rate`.`n`, `lab`.`__rate`.`name`, `lab`.`__rate`.`bin`) IN (WITH `~selected0` (`~0`, `~1`) AS (SELECT `lab`.`#unit`.`n`, `lab`.`#unit`.`name`
    FROM `lab`.`#unit`
    WHERE ((n > 3))), `~selected1` (`~0`, `~1`, `~2`) AS (SELECT `lab`.`__rate`.`n`, `lab`.`__rate`.`name`, `lab`.`__rate`.`bin`
    FROM `~selected0` STRAIGHT_JOIN `lab`.`__rate` ON `lab`.`__rate`.`n` = `~selected0`.`~0` AND `lab`.`__rate`.`name` = `~selected0`.`~1` UNION
    SELECT DISTINCT `lab`.`__rate__beside`.`n`, `lab`.`__rate__beside`.`name`, `lab`.`__rate__beside`.`bin`
    FROM `~selected0` STRAIGHT_JOIN `lab`.`__rate__beside` ON `lab`.`__rate__beside`.`of_n` = `~selected0`.`~0` AND `lab`.`__rate__beside`.`of_name` = `~selected0`.`~1`
    WHERE `lab`.`__rate__beside`.`of_n` IS NOT NULL AND `lab`.`__rate__beside`.`of_name` IS NOT NULL)
    SELECT `~selected1`.`~0`, `~selected1`.`~1`, `~selected1`.`~2`
    FROM `~selected1`);

-- checksum of keys, alike True
SELECT SUM(CRC32(CRC32(CONCAT_WS(',', `lab`.`#unit`.`n`, QUOTE(CONVERT(`lab`.`#unit`.`name` USING utf8mb4))))))
    FROM `lab`.`#unit`
    WHERE 1 = 1;

-- comparable rows, alike True
SELECT SHA2(CONCAT_WS(',', `lab`.`#unit`.`n`, QUOTE(CONVERT(`lab`.`#unit`.`name` USING utf8mb4)), CAST(`lab`.`#unit`.`x` AS DOUBLE), IF(`lab`.`#unit`.`wave` IS NULL, 'NULL', IF(LENGTH(`lab`.`#unit`.`wave`) > 1000, CONCAT('=', SHA2(`lab`.`#unit`.`wave`, 256)), CONCAT(LENGTH(`lab`.`#unit`.`wave`), ',', `lab`.`#unit`.`wave`)))), 256);

-- checksum of keys, alike False
SELECT SUM(CAST(CONV(LEFT(SHA2(CONCAT_WS(',', (`lab`.`#unit`.`n` + 0), CHAR_LENGTH(IF(LOCATE(0xED, BINARY `lab`.`#unit`.`name`) AND NOT BINARY CONVERT(CONVERT(`lab`.`#unit`.`name` USING utf16) USING utf8mb4) <=> BINARY `lab`.`#unit`.`name`, CONCAT('￿bytes:', HEX(`lab`.`#unit`.`name`)), CONVERT(`lab`.`#unit`.`name` USING utf8mb4))), IF(LOCATE(0xED, BINARY `lab`.`#unit`.`name`) AND NOT BINARY CONVERT(CONVERT(`lab`.`#unit`.`name` USING utf16) USING utf8mb4) <=> BINARY `lab`.`#unit`.`name`, CONCAT('￿bytes:', HEX(`lab`.`#unit`.`name`)), CONVERT(`lab`.`#unit`.`name` USING utf8mb4))), 256), 8), 16, 10) AS UNSIGNED))
    FROM `lab`.`#unit`
    WHERE 1 = 1;

-- comparable rows, alike False
SELECT `lab`.`#unit`.`n`, IF(LOCATE(0xED, BINARY `lab`.`#unit`.`name`) AND NOT BINARY CONVERT(CONVERT(`lab`.`#unit`.`name` USING utf16) USING utf8mb4) <=> BINARY `lab`.`#unit`.`name`, CONCAT('￿bytes:', HEX(`lab`.`#unit`.`name`)), CONVERT(`lab`.`#unit`.`name` USING utf8mb4)), CAST(`lab`.`#unit`.`x` AS DOUBLE), IF(LENGTH(`lab`.`#unit`.`wave`) > 1000, CONCAT('sha256:', SHA2(`lab`.`#unit`.`wave`, 256)), LOWER(HEX(`lab`.`#unit`.`wave`)));

-- digest of rows
SELECT SUM(CAST(CONV(LEFT(SHA2(CONCAT_WS(',', `lab`.`#unit`.`n`, QUOTE(CONVERT(`lab`.`#unit`.`name` USING utf8mb4)), CAST(`lab`.`#unit`.`x` AS DOUBLE), IF(`lab`.`#unit`.`wave` IS NULL, 'NULL', IF(LENGTH(`lab`.`#unit`.`wave`) > 1000, CONCAT('=', SHA2(`lab`.`#unit`.`wave`, 256)), CONCAT(LENGTH(`lab`.`#unit`.`wave`), ',', `lab`.`#unit`.`wave`)))), 256), 15), 16, 10) AS UNSIGNED))
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `lab`.`#unit` ON `lab`.`#unit`.`n` = `~keys`.`~0` AND `lab`.`#unit`.`name` = `~keys`.`~1`;

-- digest of a key
SELECT CRC32(CRC32(CONCAT_WS(',', `lab`.`#unit`.`n`, QUOTE(CONVERT(`lab`.`#unit`.`name` USING utf8mb4)))));

-- bucket of a key
SELECT CRC32(CRC32(CONCAT_WS(',', `lab`.`#unit`.`n`, QUOTE(CONVERT(`lab`.`#unit`.`name` USING utf8mb4))))) & 255;

-- bucket of a key
SELECT (`lab`.`#unit`.`n` & 65535) & 255;

-- digests by group
SELECT CRC32(CRC32(CONCAT_WS(',', `lab`.`#unit`.`n`, QUOTE(CONVERT(`lab`.`#unit`.`name` USING utf8mb4))))) & 1023, COUNT(*), SUM(CAST(CONV(LEFT(SHA2(CONCAT_WS(',', `lab`.`#unit`.`n`, QUOTE(CONVERT(`lab`.`#unit`.`name` USING utf8mb4)), CAST(`lab`.`#unit`.`x` AS DOUBLE), IF(`lab`.`#unit`.`wave` IS NULL, 'NULL', IF(LENGTH(`lab`.`#unit`.`wave`) > 1000, CONCAT('=', SHA2(`lab`.`#unit`.`wave`, 256)), CONCAT(LENGTH(`lab`.`#unit`.`wave`), ',', `lab`.`#unit`.`wave`)))), 256), 15), 16, 10) AS UNSIGNED))
    FROM `lab`.`#unit`
    GROUP BY 1;

-- rows of groups
CRC32(CRC32(CONCAT_WS(',', `lab`.`#unit`.`n`, QUOTE(CONVERT(`lab`.`#unit`.`name` USING utf8mb4))))) & 1023 IN (7, 9);

-- digests by group
SELECT `lab`.`#unit`.`n`, IF(LOCATE(0xED, BINARY `lab`.`#unit`.`name`) AND NOT BINARY CONVERT(CONVERT(`lab`.`#unit`.`name` USING utf16) USING utf8mb4) <=> BINARY `lab`.`#unit`.`name`, CONCAT('￿bytes:', HEX(`lab`.`#unit`.`name`)), CONVERT(`lab`.`#unit`.`name` USING utf8mb4)), COUNT(*), SUM(CAST(CONV(LEFT(SHA2(CONCAT_WS(',', `lab`.`#unit`.`n`, QUOTE(CONVERT(`lab`.`#unit`.`name` USING utf8mb4)), CAST(`lab`.`#unit`.`x` AS DOUBLE), IF(`lab`.`#unit`.`wave` IS NULL, 'NULL', IF(LENGTH(`lab`.`#unit`.`wave`) > 1000, CONCAT('=', SHA2(`lab`.`#unit`.`wave`, 256)), CONCAT(LENGTH(`lab`.`#unit`.`wave`), ',', `lab`.`#unit`.`wave`)))), 256), 15), 16, 10) AS UNSIGNED))
    FROM `lab`.`#unit`
    GROUP BY `lab`.`#unit`.`n`, `lab`.`#unit`.`name`;

-- rows of groups: (1, 'a', 2, 'b')
((`lab`.`#unit`.`n` = %s AND `lab`.`#unit`.`name` = %s) OR (`lab`.`#unit`.`n` = %s AND `lab`.`#unit`.`name` = %s));

-- digests by group
SELECT `lab`.`#unit`.`n` DIV 64, COUNT(*), SUM(CAST(CONV(LEFT(SHA2(CONCAT_WS(',', `lab`.`#unit`.`n`, QUOTE(CONVERT(`lab`.`#unit`.`name` USING utf8mb4)), CAST(`lab`.`#unit`.`x` AS DOUBLE), IF(`lab`.`#unit`.`wave` IS NULL, 'NULL', IF(LENGTH(`lab`.`#unit`.`wave`) > 1000, CONCAT('=', SHA2(`lab`.`#unit`.`wave`, 256)), CONCAT(LENGTH(`lab`.`#unit`.`wave`), ',', `lab`.`#unit`.`wave`)))), 256), 15), 16, 10) AS UNSIGNED))
    FROM `lab`.`#unit`
    GROUP BY 1;

-- rows of groups
((`lab`.`#unit`.`n` BETWEEN -63 AND 63) OR (`lab`.`#unit`.`n` BETWEEN 192 AND 255) OR (`lab`.`#unit`.`n` BETWEEN -127 AND -64));

-- look up keys: ('[[1, "a"], [2, "b"]]',)
FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `lab`.`#unit` ON `lab`.`#unit`.`n` = `~keys`.`~0` AND `lab`.`#unit`.`name` = `~keys`.`~1`;

-- read keys that travel
SELECT `lab`.`#unit`.`n`, CAST(CONVERT(IF(LOCATE(0xED, BINARY `lab`.`#unit`.`name`) AND NOT BINARY CONVERT(CONVERT(`lab`.`#unit`.`name` USING utf16) USING utf8mb4) <=> BINARY `lab`.`#unit`.`name`, CONCAT('￿bytes:', HEX(`lab`.`#unit`.`name`)), CONVERT(`lab`.`#unit`.`name` USING utf8mb4)) USING utf8mb4) AS BINARY);

-- keys that travel
SELECT `~0`, `~1`
    FROM (SELECT DISTINCT IFNULL(`~keys`.`~0`, 0) AS `~0`, IFNULL(`~keys`.`~1`, '') AS `~1`
    FROM JSON_TABLE('[[1, "a"], [2, "b"]]', '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys`) AS `~made`;

-- delete keys: ('[[1, "a"], [2, "b"]]',)
DELETE `lab`.`#unit`
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `lab`.`#unit` ON `lab`.`#unit`.`n` = `~keys`.`~0` AND `lab`.`#unit`.`name` = `~keys`.`~1`
    WHERE 1 = 1;

-- read what is deleted next
SELECT `lab`.`#unit`.`n`, IF(LOCATE(0xED, BINARY `lab`.`#unit`.`name`) AND NOT BINARY CONVERT(CONVERT(`lab`.`#unit`.`name` USING utf16) USING utf8mb4) <=> BINARY `lab`.`#unit`.`name`, CONCAT('￿bytes:', HEX(`lab`.`#unit`.`name`)), CONVERT(`lab`.`#unit`.`name` USING utf8mb4))
    FROM `lab`.`#unit` LIMIT 18446744073709551615 FOR UPDATE;

-- what DataJoint 0.x has in a store
SELECT CONVERT(CASE WHEN `lab`.`#unit`.`image` IS NOT NULL THEN COALESCE((SELECT JSON_OBJECT('hash', HEX(`lab`.`#unit`.`image`), 'size', `~tracked`.`size`, 'attachment_name', `~tracked`.`attachment_name`, 'filepath', `~tracked`.`filepath`, 'contents_hash', HEX(`~tracked`.`contents_hash`), 'timestamp', CAST(`~tracked`.`timestamp` AS CHAR))
    FROM `lab`.`~external_raw` AS `~tracked`
    WHERE `~tracked`.`hash` = `lab`.`#unit`.`image`), JSON_OBJECT('hash', HEX(`lab`.`#unit`.`image`))) END USING utf8mb4)
    FROM `lab`.`#unit`;

-- make a temporary table
DROP TEMPORARY TABLE IF EXISTS `here`.`~refresh_0`;

-- make a temporary table
CREATE TEMPORARY TABLE `here`.`~refresh_0` (PRIMARY KEY (`n`, `name`)) ENGINE=InnoDB ROW_FORMAT=DYNAMIC
    SELECT `n`, `name`, `x`, `wave`
    FROM `here`.`unit`
    WHERE 1 = 0;

-- lock what is refreshed
SELECT COUNT(*)
    FROM `here`.`~refresh_0` STRAIGHT_JOIN `here`.`unit` ON `here`.`unit`.`n` = `here`.`~refresh_0`.`n` AND `here`.`unit`.`name` = `here`.`~refresh_0`.`name` FOR UPDATE;

-- remove part rows that have gone
DELETE `here`.`unit__spike`
    FROM `here`.`~refresh_0` STRAIGHT_JOIN `here`.`unit__spike` ON `here`.`unit__spike`.`n` = `here`.`~refresh_0`.`n` AND `here`.`unit__spike`.`name` = `here`.`~refresh_0`.`name`
    WHERE NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `here`.`~refresh_1` `~staged`
    WHERE `~staged`.`n` = `here`.`unit__spike`.`n` AND `~staged`.`name` = `here`.`unit__spike`.`name` AND `~staged`.`spike` = `here`.`unit__spike`.`spike`);

-- change what differs
UPDATE `here`.`~refresh_0` STRAIGHT_JOIN `here`.`unit` ON `here`.`unit`.`n` = `here`.`~refresh_0`.`n` AND `here`.`unit`.`name` = `here`.`~refresh_0`.`name`
    SET `here`.`unit`.`name` = `here`.`~refresh_0`.`name`, `here`.`unit`.`x` = `here`.`~refresh_0`.`x`, `here`.`unit`.`wave` = `here`.`~refresh_0`.`wave`;

-- change what differs of a part
UPDATE `here`.`~refresh_1` STRAIGHT_JOIN `here`.`unit__spike` ON `here`.`unit__spike`.`n` = `here`.`~refresh_1`.`n` AND `here`.`unit__spike`.`name` = `here`.`~refresh_1`.`name` AND `here`.`unit__spike`.`spike` = `here`.`~refresh_1`.`spike`
    SET `here`.`unit__spike`.`name` = `here`.`~refresh_1`.`name`, `here`.`unit__spike`.`spike` = `here`.`~refresh_1`.`spike`;

-- change all of a range: (1, 1, 'a', 7, 7, "it's 100%")
UPDATE `here`.`unit` STRAIGHT_JOIN `here`.`~refresh_0` ON `here`.`unit`.`n` = `here`.`~refresh_0`.`n` AND `here`.`unit`.`name` = `here`.`~refresh_0`.`name` AND CAST(`here`.`unit`.`name` AS BINARY) = CAST(`here`.`~refresh_0`.`name` AS BINARY)
    SET `here`.`unit`.`x` = `here`.`~refresh_0`.`x`, `here`.`unit`.`wave` = `here`.`~refresh_0`.`wave`
    WHERE ((`here`.`unit`.`n` > %s) OR (`here`.`unit`.`n` = %s AND `here`.`unit`.`name` > %s))
    AND ((`here`.`unit`.`n` < %s) OR (`here`.`unit`.`n` = %s AND `here`.`unit`.`name` <= %s));

-- add part rows that are new
INSERT INTO `here`.`unit__spike` (`n`, `name`, `spike`)
    SELECT `here`.`~refresh_1`.`n`, `here`.`~refresh_1`.`name`, `here`.`~refresh_1`.`spike`
    FROM `here`.`~refresh_1`
    WHERE NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `here`.`unit__spike` `~there`
    WHERE `~there`.`n` = `here`.`~refresh_1`.`n` AND `~there`.`name` = `here`.`~refresh_1`.`name` AND `~there`.`spike` = `here`.`~refresh_1`.`spike`);

-- compare what has become of it, where there are triggers
SELECT COUNT(*), COALESCE(SUM(CASE WHEN SHA2(CONCAT_WS(',', `here`.`~refresh_0`.`n`, QUOTE(CONVERT(`here`.`~refresh_0`.`name` USING utf8mb4)), CAST(`here`.`~refresh_0`.`x` AS DOUBLE), IF(`here`.`~refresh_0`.`wave` IS NULL, 'NULL', IF(LENGTH(`here`.`~refresh_0`.`wave`) > 1000, CONCAT('=', SHA2(`here`.`~refresh_0`.`wave`, 256)), CONCAT(LENGTH(`here`.`~refresh_0`.`wave`), ',', `here`.`~refresh_0`.`wave`)))), 256) = SHA2(CONCAT_WS(',', `here`.`unit`.`n`, QUOTE(CONVERT(`here`.`unit`.`name` USING utf8mb4)), CAST(`here`.`unit`.`x` AS DOUBLE), IF(`here`.`unit`.`wave` IS NULL, 'NULL', IF(LENGTH(`here`.`unit`.`wave`) > 1000, CONCAT('=', SHA2(`here`.`unit`.`wave`, 256)), CONCAT(LENGTH(`here`.`unit`.`wave`), ',', `here`.`unit`.`wave`)))), 256) THEN 1 ELSE 0 END), 0)
    FROM `here`.`~refresh_0` LEFT JOIN `here`.`unit` ON `here`.`unit`.`n` = `here`.`~refresh_0`.`n` AND `here`.`unit`.`name` = `here`.`~refresh_0`.`name`;

-- make a temporary table of keys
DROP TEMPORARY TABLE IF EXISTS `here`.`~stale_2`;

-- make a temporary table of keys
CREATE TEMPORARY TABLE `here`.`~stale_2` (PRIMARY KEY (`n`)) ENGINE=InnoDB ROW_FORMAT=DYNAMIC
    SELECT `n`
    FROM `there`.`__rate`
    WHERE 1 = 0;

-- list the keys of entities: ('[[1, "a"], [2, "b"]]',)
INSERT INTO `here`.`~stale_0` (`n`, `name`)
    SELECT DISTINCT `here`.`unit`.`n`, `here`.`unit`.`name`
    FROM JSON_TABLE(%s, '$[*]' COLUMNS (`~0` int PATH '$[0]' ERROR ON ERROR, `~1` VARCHAR(20) CHARACTER
    SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]' ERROR ON ERROR)) AS `~keys` STRAIGHT_JOIN `here`.`unit` ON `here`.`unit`.`n` = `~keys`.`~0` AND `here`.`unit`.`name` = `~keys`.`~1`
    ON DUPLICATE KEY UPDATE `here`.`~stale_0`.`n` = `here`.`~stale_0`.`n`;

-- list what refers to them
INSERT INTO `here`.`~stale_2` (`n`)
    SELECT DISTINCT `there`.`__rate`.`n`
    FROM `here`.`~stale_0` STRAIGHT_JOIN `there`.`__rate` ON `there`.`__rate`.`unit` = `here`.`~stale_0`.`n` AND `there`.`__rate`.`name` = `here`.`~stale_0`.`name`
    ON DUPLICATE KEY UPDATE `here`.`~stale_2`.`n` = `here`.`~stale_2`.`n`;

-- list what refers to another column of them
INSERT INTO `here`.`~stale_2` (`n`)
    SELECT DISTINCT `there`.`__rate`.`n`
    FROM `here`.`~stale_0` STRAIGHT_JOIN `here`.`unit` ON `here`.`unit`.`n` = `here`.`~stale_0`.`n` AND `here`.`unit`.`name` = `here`.`~stale_0`.`name` STRAIGHT_JOIN `there`.`__rate` ON `there`.`__rate`.`at` = `here`.`unit`.`x`
    ON DUPLICATE KEY UPDATE `here`.`~stale_2`.`n` = `here`.`~stale_2`.`n`;

-- list the masters of part rows
INSERT INTO `here`.`~stale_0` (`n`, `name`)
    SELECT DISTINCT `here`.`unit`.`n`, `here`.`unit`.`name`
    FROM `here`.`~stale_1` STRAIGHT_JOIN `here`.`unit` ON `here`.`unit`.`n` = `here`.`~stale_1`.`n` AND `here`.`unit`.`name` = `here`.`~stale_1`.`name`
    ON DUPLICATE KEY UPDATE `here`.`~stale_0`.`n` = `here`.`~stale_0`.`n`;

-- strike out what rows refer to
DELETE
    FROM `here`.`~stale_0`
    WHERE EXISTS (SELECT 1
    FROM `there`.`__rate`
    WHERE `there`.`__rate`.`unit` = `here`.`~stale_0`.`n` AND `there`.`__rate`.`name` = `here`.`~stale_0`.`name`);

-- strike out what rows refer to that stay
DELETE
    FROM `here`.`~stale_0`
    WHERE EXISTS (SELECT 1
    FROM `there`.`__rate`
    WHERE `there`.`__rate`.`unit` = `here`.`~stale_0`.`n` AND `there`.`__rate`.`name` = `here`.`~stale_0`.`name`
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `here`.`~stale_2` `~going`
    WHERE `~going`.`n` = `there`.`__rate`.`n`));

-- strike out what rows refer to by another column
DELETE
    FROM `here`.`~stale_0`
    WHERE EXISTS (SELECT 1
    FROM `here`.`unit` JOIN `there`.`__rate` ON `there`.`__rate`.`at` = `here`.`unit`.`x`
    WHERE `here`.`unit`.`n` = `here`.`~stale_0`.`n` AND `here`.`unit`.`name` = `here`.`~stale_0`.`name`
    AND NOT EXISTS (SELECT /*+ NO_SEMIJOIN(MATERIALIZATION) */ 1
    FROM `here`.`~stale_2` `~going`
    WHERE `~going`.`n` = `there`.`__rate`.`n`));

-- strike out part rows of masters that stay
DELETE
    FROM `here`.`~stale_1`
    WHERE EXISTS (SELECT 1
    FROM `here`.`unit__spike`
    WHERE `here`.`unit__spike`.`n` = `here`.`~stale_1`.`n` AND `here`.`unit__spike`.`name` = `here`.`~stale_1`.`name` AND `here`.`unit__spike`.`spike` = `here`.`~stale_1`.`spike`
    AND NOT EXISTS (SELECT 1
    FROM `here`.`~stale_0` `~master`
    WHERE `~master`.`n` = `here`.`unit__spike`.`n` AND `~master`.`name` = `here`.`unit__spike`.`name`));

-- delete what depends on others
DELETE `there`.`__rate`
    FROM `here`.`~stale_2` STRAIGHT_JOIN `there`.`__rate` ON `there`.`__rate`.`n` = `here`.`~stale_2`.`n`
    WHERE 1 = 1;

-- send rows, attachment, values
SELECT CONVERT(CONCAT('(', `lab`.`#unit`.`n`, ',', QUOTE(CONVERT(`lab`.`#unit`.`name` USING utf8mb4)), ',', IF(`lab`.`#unit`.`wave` IS NULL, 'NULL', IF((LOCATE(x'00', LEFT(`lab`.`#unit`.`wave`, 1024)) > 1 AND NOT (LOCATE(x'2F', SUBSTRING_INDEX(LEFT(`lab`.`#unit`.`wave`, 1024), x'00', 1)) OR LOCATE(x'5C', SUBSTRING_INDEX(LEFT(`lab`.`#unit`.`wave`, 1024), x'00', 1)) OR SUBSTRING_INDEX(LEFT(`lab`.`#unit`.`wave`, 1024), x'00', 1) IN (x'2E', x'2E2E'))), CONCAT('x''', HEX(`lab`.`#unit`.`wave`), ''''), 'CAST(''wave: the file name in it is none'' AS SIGNED)')), ')') USING binary);

-- send long rows, attachment, values
SELECT CONVERT(CONCAT('(', `lab`.`#unit`.`n`, ',', QUOTE(CONVERT(`lab`.`#unit`.`name` USING utf8mb4)), ',', IF(`lab`.`#unit`.`wave` IS NULL, 'NULL', IF((LOCATE(x'00', LEFT(`lab`.`#unit`.`wave`, 1024)) > 1 AND NOT (LOCATE(x'2F', SUBSTRING_INDEX(LEFT(`lab`.`#unit`.`wave`, 1024), x'00', 1)) OR LOCATE(x'5C', SUBSTRING_INDEX(LEFT(`lab`.`#unit`.`wave`, 1024), x'00', 1)) OR SUBSTRING_INDEX(LEFT(`lab`.`#unit`.`wave`, 1024), x'00', 1) IN (x'2E', x'2E2E'))), 0x00, 'CAST(''wave: the file name in it is none'' AS SIGNED)')), ')') USING binary), IF((LOCATE(x'00', LEFT(`lab`.`#unit`.`wave`, 1024)) > 1 AND NOT (LOCATE(x'2F', SUBSTRING_INDEX(LEFT(`lab`.`#unit`.`wave`, 1024), x'00', 1)) OR LOCATE(x'5C', SUBSTRING_INDEX(LEFT(`lab`.`#unit`.`wave`, 1024), x'00', 1)) OR SUBSTRING_INDEX(LEFT(`lab`.`#unit`.`wave`, 1024), x'00', 1) IN (x'2E', x'2E2E'))), CAST(`lab`.`#unit`.`wave` AS BINARY), NULL);

-- send rows, attachment, copy
SELECT CONVERT(CONCAT('', `lab`.`#unit`.`n`, CHAR(9), REPLACE(REPLACE(REPLACE(REPLACE(CONVERT(`lab`.`#unit`.`name` USING utf8mb4), '\\', '\\\\'), '\t', '\\t'), '\n', '\\n'), '\r', '\\r'), CHAR(9), IF(`lab`.`#unit`.`wave` IS NULL, '\\N', IF((LOCATE(x'00', LEFT(`lab`.`#unit`.`wave`, 1024)) > 1 AND NOT (LOCATE(x'2F', SUBSTRING_INDEX(LEFT(`lab`.`#unit`.`wave`, 1024), x'00', 1)) OR LOCATE(x'5C', SUBSTRING_INDEX(LEFT(`lab`.`#unit`.`wave`, 1024), x'00', 1)) OR SUBSTRING_INDEX(LEFT(`lab`.`#unit`.`wave`, 1024), x'00', 1) IN (x'2E', x'2E2E'))), CAST(CONCAT('\\\\x', HEX(`lab`.`#unit`.`wave`)) AS BINARY), CONCAT(x'ff01', 'wave: the file name in it is none'))), '') USING binary);

-- send long rows, attachment, copy
SELECT CONVERT(CONCAT('', `lab`.`#unit`.`n`, CHAR(9), REPLACE(REPLACE(REPLACE(REPLACE(CONVERT(`lab`.`#unit`.`name` USING utf8mb4), '\\', '\\\\'), '\t', '\\t'), '\n', '\\n'), '\r', '\\r'), CHAR(9), IF(`lab`.`#unit`.`wave` IS NULL, '\\N', IF((LOCATE(x'00', LEFT(`lab`.`#unit`.`wave`, 1024)) > 1 AND NOT (LOCATE(x'2F', SUBSTRING_INDEX(LEFT(`lab`.`#unit`.`wave`, 1024), x'00', 1)) OR LOCATE(x'5C', SUBSTRING_INDEX(LEFT(`lab`.`#unit`.`wave`, 1024), x'00', 1)) OR SUBSTRING_INDEX(LEFT(`lab`.`#unit`.`wave`, 1024), x'00', 1) IN (x'2E', x'2E2E'))), CAST(0x00 AS BINARY), CONCAT(x'ff01', 'wave: the file name in it is none'))), '') USING binary), IF((LOCATE(x'00', LEFT(`lab`.`#unit`.`wave`, 1024)) > 1 AND NOT (LOCATE(x'2F', SUBSTRING_INDEX(LEFT(`lab`.`#unit`.`wave`, 1024), x'00', 1)) OR LOCATE(x'5C', SUBSTRING_INDEX(LEFT(`lab`.`#unit`.`wave`, 1024), x'00', 1)) OR SUBSTRING_INDEX(LEFT(`lab`.`#unit`.`wave`, 1024), x'00', 1) IN (x'2E', x'2E2E'))), CAST(`lab`.`#unit`.`wave` AS BINARY), NULL);

-- send rows, packed, values
SELECT CONVERT(CONCAT('(', `lab`.`#unit`.`n`, ',', QUOTE(CONVERT(`lab`.`#unit`.`name` USING utf8mb4)), ',', IF(`lab`.`#unit`.`wave` IS NULL, 'NULL', IF((LEFT(`lab`.`#unit`.`wave`, 4) IN (x'6D596D00', x'646A3000') OR LEFT(`lab`.`#unit`.`wave`, 6) = x'5A4C31323300'), CONCAT('x''', HEX(`lab`.`#unit`.`wave`), ''''), 'CAST(''wave: not packed by DataJoint'' AS SIGNED)')), ')') USING binary);

-- send long rows, packed, values
SELECT CONVERT(CONCAT('(', `lab`.`#unit`.`n`, ',', QUOTE(CONVERT(`lab`.`#unit`.`name` USING utf8mb4)), ',', IF(`lab`.`#unit`.`wave` IS NULL, 'NULL', IF((LEFT(`lab`.`#unit`.`wave`, 4) IN (x'6D596D00', x'646A3000') OR LEFT(`lab`.`#unit`.`wave`, 6) = x'5A4C31323300'), 0x00, 'CAST(''wave: not packed by DataJoint'' AS SIGNED)')), ')') USING binary), IF((LEFT(`lab`.`#unit`.`wave`, 4) IN (x'6D596D00', x'646A3000') OR LEFT(`lab`.`#unit`.`wave`, 6) = x'5A4C31323300'), CAST(`lab`.`#unit`.`wave` AS BINARY), NULL);

-- send rows, packed, copy
SELECT CONVERT(CONCAT('', `lab`.`#unit`.`n`, CHAR(9), REPLACE(REPLACE(REPLACE(REPLACE(CONVERT(`lab`.`#unit`.`name` USING utf8mb4), '\\', '\\\\'), '\t', '\\t'), '\n', '\\n'), '\r', '\\r'), CHAR(9), IF(`lab`.`#unit`.`wave` IS NULL, '\\N', IF((LEFT(`lab`.`#unit`.`wave`, 4) IN (x'6D596D00', x'646A3000') OR LEFT(`lab`.`#unit`.`wave`, 6) = x'5A4C31323300'), CAST(CONCAT('\\\\x', HEX(`lab`.`#unit`.`wave`)) AS BINARY), CONCAT(x'ff01', 'wave: not packed by DataJoint'))), '') USING binary);

-- send long rows, packed, copy
SELECT CONVERT(CONCAT('', `lab`.`#unit`.`n`, CHAR(9), REPLACE(REPLACE(REPLACE(REPLACE(CONVERT(`lab`.`#unit`.`name` USING utf8mb4), '\\', '\\\\'), '\t', '\\t'), '\n', '\\n'), '\r', '\\r'), CHAR(9), IF(`lab`.`#unit`.`wave` IS NULL, '\\N', IF((LEFT(`lab`.`#unit`.`wave`, 4) IN (x'6D596D00', x'646A3000') OR LEFT(`lab`.`#unit`.`wave`, 6) = x'5A4C31323300'), CAST(0x00 AS BINARY), CONCAT(x'ff01', 'wave: not packed by DataJoint'))), '') USING binary), IF((LEFT(`lab`.`#unit`.`wave`, 4) IN (x'6D596D00', x'646A3000') OR LEFT(`lab`.`#unit`.`wave`, 6) = x'5A4C31323300'), CAST(`lab`.`#unit`.`wave` AS BINARY), NULL);

-- send rows, raw, values
SELECT CONVERT(CONCAT('(', `lab`.`#unit`.`n`, ',', QUOTE(CONVERT(`lab`.`#unit`.`name` USING utf8mb4)), ',', IF(`lab`.`#unit`.`wave` IS NULL, 'NULL', IF(NOT (LEFT(`lab`.`#unit`.`wave`, 4) IN (x'6D596D00', x'646A3000') OR LEFT(`lab`.`#unit`.`wave`, 6) = x'5A4C31323300'), CONCAT('x''', HEX(`lab`.`#unit`.`wave`), ''''), 'CAST(''wave: packed by DataJoint, it seems'' AS SIGNED)')), ')') USING binary);

-- send long rows, raw, values
SELECT CONVERT(CONCAT('(', `lab`.`#unit`.`n`, ',', QUOTE(CONVERT(`lab`.`#unit`.`name` USING utf8mb4)), ',', IF(`lab`.`#unit`.`wave` IS NULL, 'NULL', IF(NOT (LEFT(`lab`.`#unit`.`wave`, 4) IN (x'6D596D00', x'646A3000') OR LEFT(`lab`.`#unit`.`wave`, 6) = x'5A4C31323300'), 0x00, 'CAST(''wave: packed by DataJoint, it seems'' AS SIGNED)')), ')') USING binary), IF(NOT (LEFT(`lab`.`#unit`.`wave`, 4) IN (x'6D596D00', x'646A3000') OR LEFT(`lab`.`#unit`.`wave`, 6) = x'5A4C31323300'), CAST(`lab`.`#unit`.`wave` AS BINARY), NULL);

-- send rows, raw, copy
SELECT CONVERT(CONCAT('', `lab`.`#unit`.`n`, CHAR(9), REPLACE(REPLACE(REPLACE(REPLACE(CONVERT(`lab`.`#unit`.`name` USING utf8mb4), '\\', '\\\\'), '\t', '\\t'), '\n', '\\n'), '\r', '\\r'), CHAR(9), IF(`lab`.`#unit`.`wave` IS NULL, '\\N', IF(NOT (LEFT(`lab`.`#unit`.`wave`, 4) IN (x'6D596D00', x'646A3000') OR LEFT(`lab`.`#unit`.`wave`, 6) = x'5A4C31323300'), CAST(CONCAT('\\\\x', HEX(`lab`.`#unit`.`wave`)) AS BINARY), CONCAT(x'ff01', 'wave: packed by DataJoint, it seems'))), '') USING binary);

-- send long rows, raw, copy
SELECT CONVERT(CONCAT('', `lab`.`#unit`.`n`, CHAR(9), REPLACE(REPLACE(REPLACE(REPLACE(CONVERT(`lab`.`#unit`.`name` USING utf8mb4), '\\', '\\\\'), '\t', '\\t'), '\n', '\\n'), '\r', '\\r'), CHAR(9), IF(`lab`.`#unit`.`wave` IS NULL, '\\N', IF(NOT (LEFT(`lab`.`#unit`.`wave`, 4) IN (x'6D596D00', x'646A3000') OR LEFT(`lab`.`#unit`.`wave`, 6) = x'5A4C31323300'), CAST(0x00 AS BINARY), CONCAT(x'ff01', 'wave: packed by DataJoint, it seems'))), '') USING binary), IF(NOT (LEFT(`lab`.`#unit`.`wave`, 4) IN (x'6D596D00', x'646A3000') OR LEFT(`lab`.`#unit`.`wave`, 6) = x'5A4C31323300'), CAST(`lab`.`#unit`.`wave` AS BINARY), NULL);
